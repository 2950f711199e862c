# Starts thirty processes, half of them in sessions of their own, and waits for none.
for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    sleep 60 &
    setsid sleep 60 &
done
echo '{"type":"system","subtype":"init","session_id":"s"}'
exec sleep 60
