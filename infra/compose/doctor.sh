# shellcheck shell=sh
# All checks in one table, whatever fails; then what the running stack finds.

doctor() { # doctor [--json]
    failed='' project='' refused=''
    case " $* " in *' --json '*) out=2 ;; *) out=1 ;; esac
    for check in engine compose settings buildx project ports disk memory images; do
        case $check in
            project) [ -n "$refused" ] || load_project ;;
            buildx) refused=$failed ;;
        esac
        remedy=
        if [ -n "$refused" ]; then
            found='not looked at'
            state=skipped
        elif "check_$check"; then
            state=ok
        else
            state=fail failed=yes
        fi
        print_check >&"$out"
    done
    if [ -n "$project" ] && is_running; then
        keep_shell=yes
        run_in_container "$@" || failed=yes
    fi
    [ -z "$failed" ] || exit 2
}

print_check() {
    printf '%-9s%-9s%s\n' "$check" "$state" "$found"
    [ "$state" != fail ] || printf '%-18s-> %s\n' '' "$remedy"
}
