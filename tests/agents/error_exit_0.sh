# Reports an error as a success that is one, and exits with status 0.
echo '{"type":"system","subtype":"init","session_id":"s"}'
echo '{"type":"result","subtype":"success","is_error":true,"result":"the model is overloaded","session_id":"s"}'
