# shellcheck shell=sh
# What takes long: told while it lasts, and kept in a file for when it fails.

log=''

watched() { # TITLE COMMAND…: the command's exit code; what it printed is in $log
    title=$1
    shift
    [ -n "$log" ] || log=$(mktemp "${TMPDIR:-/tmp}/modelyard.XXXXXX")
    show_progress "$title" &
    shower=$!
    trap 'rm -f "$log"' EXIT
    # what runs in the background does not hear the interrupt
    trap 'kill "$shower" 2>/dev/null; say "interrupted; the same command goes on where it can"; exit 130' INT TERM
    code=0
    "$@" >"$log" 2>&1 </dev/null || code=$?
    kill "$shower" 2>/dev/null || :
    wait "$shower" 2>/dev/null || :
    if [ -t 2 ]; then printf '\r\033[K' >&2; fi
    trap - INT TERM
    return "$code"
}

show_progress() { # TITLE
    begun=$(date +%s)
    told=0 before=
    while sleep 1 >/dev/null 2>&1; do
        took=$(($(date +%s) - begun))
        now=$(grep -E '^#[0-9]+ \[| Container |Pulling|Extracting' "$log" | tail -n 1 |
            sed -e 's/--mount=[^ ]* *//g' -e 's/   */ /g' | cut -c 1-90) || now=
        if [ -t 2 ]; then
            printf '\r\033[K  %s, %s s: %s' "$1" "$took" "$now" >&2
        elif [ "$took" -ge $((told + 30)) ] || { [ "$took" -ge $((told + 10)) ] && [ "$now" != "$before" ]; }; then
            printf '  %s, %s s: %s\n' "$1" "$took" "$now" >&2
            told=$took before=$now
        fi
    done
}
