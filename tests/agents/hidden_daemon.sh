# Leaves a daemon that has cleared its environment and is in a session of its own.
env -i setsid sleep 60 </dev/null >/dev/null 2>&1 &
echo '{"type":"system","subtype":"init","session_id":"s"}'
echo '{"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"s"}'
