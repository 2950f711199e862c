# Dies with nothing said but a line on standard error.
echo 'fatal: no such model: sonata-9' >&2
exit 3
