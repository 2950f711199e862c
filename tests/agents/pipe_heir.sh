# Ends well, while a child of it goes on holding its standard output.
sleep 60 &
echo '{"type":"system","subtype":"init","session_id":"s"}'
echo '{"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"s"}'
