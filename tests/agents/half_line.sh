# Ends with exit status 0 in the middle of its result.
echo '{"type":"system","subtype":"init","session_id":"s"}'
printf '{"type":"result","subtype":"success","is_error":fal'
