# Reports success and exits with status 1.
echo '{"type":"system","subtype":"init","session_id":"s"}'
echo '{"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"s"}'
echo 'could not save the session' >&2
exit 1
