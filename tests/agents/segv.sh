# Dies of a segmentation fault before it has a result.
echo '{"type":"system","subtype":"init","session_id":"s"}'
kill -SEGV $$
