# Checks, installs or removes a formula or a cask with Homebrew.
main() {
    set -u
    package=${MUSTER_PACKAGE-} version=${MUSTER_VERSION-}
    # Homebrew reads options and files where it expects a name.
    case $package in
        '' | [!A-Za-z0-9]* | *[!A-Za-z0-9+._@/-]*) fail 2 "'$package' is no name of a formula" ;;
    esac
    case ${MUSTER_WANTED-} in
        present | absent) ;;
        *) fail 2 "MUSTER_WANTED is neither 'present' nor 'absent'" ;;
    esac
    # There may be a formula and a cask of the same name.
    kind=
    for argument; do
        case $argument in
            --formula | --formulae) kind=--formula ;;
            --cask | --casks) kind=--cask ;;
        esac
    done
    find_brew
    # Homebrew refuses to work in a folder that its owner can't read.
    cd / || exit

    as_wanted && exit 0
    case ${MUSTER_OPERATION-} in
        check) exit 1 ;;
        apply) "make_$MUSTER_WANTED" "$@" ;;
        *) fail 2 "MUSTER_OPERATION is neither 'check' nor 'apply'" ;;
    esac
    if ! as_wanted; then
        [ -z "$version" ] || fail 1 "Homebrew has no $version of $package, but its latest one:" \
            "ask for any, or for a formula of its own such as name@$version"
        fail 1 "Homebrew ended well, but $package is not as it is wanted: see what it wrote"
    fi
}

fail() {
    status=$1
    shift
    printf 'muster: %s\n' "$*" >&2
    exit "$status"
}

find_brew() {
    for brew in "$(command -v brew)" /opt/homebrew/bin/brew /usr/local/bin/brew \
        /home/linuxbrew/.linuxbrew/bin/brew ''; do
        [ ! -x "$brew" ] || break
    done
    [ -n "$brew" ] || fail 2 "there is no Homebrew: install it first, see https://brew.sh"
    owner=
    if [ "$(id -u)" -eq 0 ]; then
        # Asking brew itself would run as root what this user may change. Its prefix is no answer:
        # /usr/local belongs to root.
        owner=$(stat -L -c %U "$brew" 2>/dev/null || stat -L -f %Su "$brew")
    fi
}

homebrew() {
    set -- env HOMEBREW_NO_AUTO_UPDATE=1 HOMEBREW_NO_ENV_HINTS=1 NONINTERACTIVE=1 "$brew" "$@"
    case $owner in
        '' | root) ;;
        *) set -- sudo -n -H -u "$owner" -- "$@" ;;
    esac
    "$@" </dev/null
}

as_wanted() {
    known=
    for each in ${kind:---formula --cask}; do
        known="$known $(homebrew list "$each" --versions -- "$package" 2>/dev/null | tr '\n' ' ')"
    done
    case $MUSTER_WANTED-$known in
        present-*[!\ ]*)
            [ -z "$version" ] && return
            case "$known " in
                *" $version "*) ;;
                *) return 1 ;;
            esac ;;
        present-*) return 1 ;;
        absent-*[!\ ]*) return 1 ;;
        # It says as little when it does not work at all.
        absent-*)
            homebrew list --versions >/dev/null || fail 2 "Homebrew fails: it says why above" ;;
    esac
}

make_present() {
    homebrew update --quiet ||
        printf 'muster: brew update failed; what it knew before may be out of date\n' >&2
    case $known in
        *[!\ ]*) verb=upgrade ;;
        *) verb=install ;;
    esac
    homebrew "$verb" "$@" -- "$package" ||
        fail $? "Homebrew could not $verb $package: it says why above"
}

make_absent() {
    homebrew uninstall --force ${kind:+"$kind"} -- "$package" ||
        fail $? "Homebrew could not remove $package: it says why above"
}

main "$@" # What is appended to this line is a comment.
