# Ends with exit status 0 and never says how it went.
echo '{"type":"system","subtype":"init","session_id":"s"}'
echo '{"type":"assistant","message":{"content":[{"type":"text","text":"working"}]}}'
