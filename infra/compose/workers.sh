# shellcheck shell=sh
# Workers with further packages: a trainer and an evaluator for each, with an image and a queue of their own. What was
# asked for is kept in .workers/, by project; the services follow from it and from the stack's own at each command.

TRAINER_AND_EVALUATOR='trainer evaluator'

list_own_workers() { # by name, of this project
    for kept in .workers/"$project"/*/requirements.txt; do
        [ ! -f "$kept" ] || basename -- "$(dirname -- "$kept")"
    done
}

list_own_services() { list_own_workers | sed 'h; s/^/trainer-/p; g; s/^/evaluator-/'; }

name_worker_image() { printf 'modelyard/worker-%s:%s' "$1" "$(setting MODELYARD_TAG local)"; } # NAME

load_own_workers() { # adds their services to what Compose is told, and to config
    own_workers=$(list_own_workers)
    [ -n "$own_workers" ] || return 0
    overlay=.workers/$project/compose.yml
    {
        echo 'services:'
        for own in $own_workers; do
            for role in $TRAINER_AND_EVALUATOR; do
                # as the stack's own, but for what it is made from and what it takes
                printf '%s\n' "$config" | awk -v role="$role" -v name="$own" -v image="$(name_worker_image "$own")" '
                    /^[^ ]/ { inside = 0; section = $1 }
                    /^  [^ ]/ {
                        inside = section == "services:" && $1 == role ":"
                        if (inside) {
                            printf "  %s-%s:\n    image: %s\n", role, name, image
                            printf "    command: [modelyard, worker, %s, --queue, \"%s\"]\n", role, name
                        }
                        next
                    }
                    /^    [^ ]/ { left_out = $1 ~ /^(build|command|entrypoint|image):$/ }
                    inside && !left_out'
            done
        done
    } >"$overlay.$$" || fail "$root/$overlay cannot be written; see whose it is"
    mv -f -- "$overlay.$$" "$overlay"
    files=$(setting COMPOSE_FILE)
    separator=$(setting COMPOSE_PATH_SEPARATOR :)
    if [ -z "$files" ]; then
        files=docker-compose.yml
        for override in docker-compose.override.yml docker-compose.override.yaml; do
            [ ! -f "$override" ] || files=$files$separator$override
        done
    fi
    case $separator$files$separator in
        *"$separator$overlay$separator"*) ;; # a command may load the project twice
        *) export COMPOSE_FILE="$files$separator$overlay" ;;
    esac
    config=$(docker compose --profile cli config) || fail "$root/$overlay does not go with docker-compose.yml as it is set up"
}

build_own_workers() { # after the trainer's image, which theirs are made from
    for own in $(list_own_workers); do
        [ "$own" != "${added:-}" ] || continue # it gets other packages now
        build_worker "$own" ".workers/$project/$own" ||
            fail "$found; make worker NAME=$own REQUIREMENTS=FILE gives them others, REMOVE=1 removes them"
    done
}

build_worker() { # NAME FOLDER: makes the image; sets found where that fails
    PIP_INDEX_URL=$(setting PIP_INDEX_URL)
    export PIP_INDEX_URL
    bundle=$(setting MODELYARD_CA_BUNDLE /dev/null)
    watched build docker build --progress plain --network "$(setting MODELYARD_BUILD_NETWORK default)" \
        --secret "id=ca_bundle,src=$bundle" --secret id=pip_index,env=PIP_INDEX_URL \
        --build-arg "TRAINER_IMAGE=modelyard/trainer:$(setting MODELYARD_TAG local)" \
        --file services/worker.Dockerfile --tag "$(name_worker_image "$1")" "$2" && return
    # of what pip said: why, and between which packages
    said=$(sed -n -e 's/^#[0-9]* [0-9.]* *//' -e 's/^ERROR: //p' -e '/^The user requested /p' -e '/ depends on /p' "$log" |
        grep -E -v '^(process "|failed to |ResolutionImpossible)' | awk '!seen[$0]++' | cut -c 1-300)
    found="workers $1: the packages could not be installed: $(printf '%s' "${said:-$(tail -n 1 "$log")}" | tr '\n' ';')"
    case $said in
        *'(constraint)'*)
            found="$found; Modelyard's own packages stay as they are: ask for versions that go with them"
            ;;
        *) found="$found; correct the requirements (no network? PIP_INDEX_URL, MODELYARD_BUILD_NETWORK)" ;;
    esac
    return 1
}

check_worker_name() { # NAME
    case $1 in
        default) fail "default is the queue of the stack's own workers; give yours another name" ;;
        [a-z]*) case $1 in *[!a-z0-9-]* | *- | *--*) ;; *) [ "${#1}" -gt 30 ] || return 0 ;; esac ;;
    esac
    fail "'$1' is no name of a queue; take one like vision or vision-2: small letters, digits and single hyphens," \
        'a letter first, at most 30 of them'
}

check_requirements() { # FILE
    [ -f "$1" ] && [ -r "$1" ] || fail "the requirements $1 cannot be read; name a file as pip reads it"
    grep -E -q '^[[:space:]]*[^#[:space:]]' "$1" ||
        fail "the requirements $1 name no package; write one a line, e.g. mne==1.10.2"
    options='-[rcef]|--(requirement|constraint|editable|find-links)([^[:alnum:]_]|$)'
    line=$(grep -E -n -m 1 "^[[:space:]]*($options|\.{0,2}/|([^#]*@[[:space:]]*)?file:)" "$1") || return 0
    fail "line ${line%%:*} of the requirements $1 names another file (${line#*:}), and only this one is handed in;" \
        'write the packages themselves into it (pip-compile does)'
}

workers() { # add NAME --requirements FILE | remove NAME | list
    case $#,${1:-},${3:-} in
        4,add,--requirements) add_workers "$2" "$4" ;;
        3,add,--requirements=*) add_workers "$2" "${3#*=}" ;;
        2,add,) fail 'which packages? name their file: REQUIREMENTS=FILE (--requirements FILE)' ;;
        2,remove,) remove_workers "$2" ;;
        1,list,) show_workers ;;
        *) fail 'workers takes add NAME --requirements FILE, remove NAME, or list' ;;
    esac
}

add_workers() { # NAME FILE
    added=$1 file=$2
    check_worker_name "$added"
    case $file in /*) ;; *) file=$here/$file ;; esac
    check_requirements "$file"
    asked=$file
    find_image || build_images
    require check_buildx check_disk
    kept=.workers/$project/$added
    mkdir -p -- "$kept/asked" || fail "$root/$kept cannot be written; see whose it is"
    cp -- "$asked" "$kept/asked/requirements.txt"
    tell stack "compose: workers $added: installing the packages of $asked"
    if ! build_worker "$added" "$kept/asked"; then
        rm -rf -- "$kept/asked"
        fail "$found"
    fi
    mv -f -- "$kept/asked/requirements.txt" "$kept/requirements.txt"
    rmdir -- "$kept/asked"
    load_project
    bring_up ''
    tell workers "$added: a trainer and an evaluator take the jobs of the queue $added"
    tell next "make train QUEUE=$added (--queue $added)"
}

remove_workers() { # NAME; jobs of its queue wait
    removed=$1 kept=.workers/$project/$1
    list_own_workers | grep -F -x -e "$removed" >/dev/null ||
        fail "there are no workers $removed; there are: $(list_own_workers | tr '\n' ' ' | sed 's/^$/none/')"
    watched stop docker compose rm --stop --force --volumes "trainer-$removed" "evaluator-$removed" ||
        fail "the workers $removed did not stop: $(tail -n 1 "$log")"
    rm -rf -- "$kept"
    rm -f -- ".workers/$project/compose.yml" # nothing may start them again by it
    load_own_workers                         # of those that are left
    docker image rm "$(name_worker_image "$removed")" >/dev/null 2>&1 || : # another project may use it
    tell workers "$removed: removed"
}

show_workers() {
    printf '%-31s%-13s%s\n' workers state requirements
    for own in $(list_own_workers); do
        nb=$(list_containers "$SERVICE_NAME {{.State}}" | grep -c -E -x "(trainer|evaluator)-$own running" || :)
        case $nb in 2) state=running ;; 0) state=down ;; *) state='one is down' ;; esac
        printf '%-31s%-13s%s\n' "$own" "$state" ".workers/$project/$own/requirements.txt"
    done
}
