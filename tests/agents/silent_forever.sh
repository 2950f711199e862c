# Says nothing, for ever.
exec sleep 60
