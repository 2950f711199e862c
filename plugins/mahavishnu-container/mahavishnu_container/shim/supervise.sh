# Runs a command in a container and watches over it, for the shim on the other side of three FIFOs.
#
# $1 is the directory that both sides see; the rest is the command. "report" gets how the command ended. On
# "control" come the names of signals for the whole family, and questions, which "reply" gets the answers to.
# When the shim is gone, "control" ends, and so does the family: nothing runs on that nobody waits for.
# What a command says by these pipes in our place is believed of nothing but itself: its exit status.
#
# A worker's commands are all that its user runs in its container, so "-1" is the family, less the caller.
# There are no variables outside of parentheses: one of that name may be the command's.
[ -p "$1/report" ] || exit # wherever this is, it is not where it was meant to be: harm nobody
kill -KILL -1 2>/dev/null # what an earlier command left
exec 9>"$1/report" 8<"$1/control" 7>"$1/reply" # here, so that whoever is killed first closes them
[ -d "$HOME" ] || mkdir -m 700 "$HOME"
oom_kills() { # sets "kills": how many of the container's processes were killed for want of memory
    kills=0
    for file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
        [ -r "$file" ] && while read -r key value; do
            [ "$key" = oom_kill ] && kills=$value
        done <"$file"
    done
}
set -- "$(oom_kills; echo "$kills")" "$@"
(
    trap '' TERM HUP INT QUIT ALRM USR1 USR2
    others() { # those that we may signal: what keeps the container up belongs to another user
        found=
        for entry in /proc/[0-9]*; do
            pid=${entry#/proc/}
            [ "$pid" = "$self" ] || [ "$pid" = $$ ] || ! kill -0 "$pid" 2>/dev/null || found="$found $pid"
        done
    }
    read -r self _ </proc/self/stat
    echo ready >&7
    while read -r word <&8; do
        case $word in
        count)
            others
            number=0
            for pid in $found; do number=$((number + 1)); done
            echo "count $number" >&7
            ;;
        list)
            others
            for pid in $found; do
                name='?'
                read -r name 2>/dev/null <"/proc/$pid/comm"
                echo "stray $pid $name" >&7
            done
            echo "list end" >&7
            ;;
        oom)
            oom_kills
            echo "oom $((kills - $1))" >&7
            ;;
        leave) break ;; # nobody is there, as far as we were asked: who keeps us from counting stays behind
        *) kill -"$word" -1 2>/dev/null ;;
        esac
    done
    kill -KILL -1 2>/dev/null
) 9>&- &
exec 8<&- 7>&-
command -v "$3" >/dev/null || {
    echo missing >&9
    exit
}
trap : TERM HUP INT QUIT ALRM USR1 USR2 # caught, and so reset for the command; ignored, it would ignore them
(shift 2 && exec "$@" 9>&-) <"$2/stdin" >>"$2/stdout" 2>>"$2/stderr"
echo "exit $?" >&9
