# Checks, installs or removes a package with apt.
main() {
    set -u
    umask 022
    export DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none
    package=${MUSTER_PACKAGE-} version=${MUSTER_VERSION-} url=${MUSTER_URL-}
    # dpkg reads globs and apt reads patterns where they expect a name.
    case $package in
        '' | [!A-Za-z0-9]* | *[!A-Za-z0-9+._:-]*) fail 2 "'$package' is no name of a package" ;;
    esac
    case $version in
        *[!A-Za-z0-9.+:~-]*) fail 2 "'$version' is no version of a package" ;;
    esac
    case ${MUSTER_WANTED-} in
        present | absent) ;;
        *) fail 2 "MUSTER_WANTED is neither 'present' nor 'absent'" ;;
    esac

    as_wanted && exit 0
    case ${MUSTER_OPERATION-} in
        check) exit 1 ;;
        apply) "make_$MUSTER_WANTED" "$@" ;;
        *) fail 2 "MUSTER_OPERATION is neither 'check' nor 'apply'" ;;
    esac
    as_wanted || fail 1 "apt-get ended well, but $package is not as it is wanted: see what it wrote"
}

fail() {
    status=$1
    shift
    printf 'muster: %s\n' "$*" >&2
    exit "$status"
}

as_wanted() {
    # shellcheck disable=SC2016 # dpkg-query expands these.
    known=$(dpkg-query -W -f '${db:Status-Status} ${Version}\n' -- "$package" 2>/dev/null)
    [ $? -le 1 ] || fail 2 "dpkg-query fails: see that this is a Debian, and its dpkg is in order"
    case $MUSTER_WANTED-$version in
        present-) printf '%s\n' "$known" | grep -q '^installed ' ;;
        present-*) printf '%s\n' "$known" | grep -Fqx -- "installed $version" ;;
        absent-*) ! printf '%s\n' "$known" | grep -Eqv '^((not-installed|config-files) .*)?$' ;;
    esac
}

make_present() {
    apt-get -qq update </dev/null ||
        printf 'muster: apt-get update failed; what it knew before may be out of date\n' >&2
    if [ -n "$url" ]; then
        fetch
        target=$folder/package.deb
    else
        # Without one of exactly this name apt would take it for a pattern, or read its last `-` as
        # the wish to remove.
        apt-cache pkgnames -- "${package%%:*}" | grep -Fqx -- "${package%%:*}" ||
            fail 1 "no source of packages has $package: see to its name, or add its source"
        target=$package${version:+=$version}
    fi
    apt-get install -q -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
        -o DPkg::Lock::Timeout=120 ${version:+--allow-downgrades} "$@" -- "$target" </dev/null ||
        fail $? "apt-get could not install $target: it says why above"
}

make_absent() {
    apt-get remove -q -y -o DPkg::Lock::Timeout=120 -- "$package" </dev/null ||
        fail $? "apt-get could not remove $package: it says why above"
}

fetch() {
    folder=$(mktemp -d "${TMPDIR:-/tmp}/muster.XXXXXX") ||
        fail $? "no temporary folder can be made: see that the disk is not full"
    trap 'rm -rf -- "$folder"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    deb=$folder/package.deb
    case $url in
        http://* | https://*)
            if command -v curl >/dev/null; then
                curl -fsSLg --retry 3 --connect-timeout 30 -o "$deb" "$url"
            elif command -v wget >/dev/null; then
                wget -q -T 30 -O "$deb" "$url"
            else
                fail 2 "there is neither curl nor wget to download with: install one of them"
            fi ;;
        /* | file:///*) cp -- "${url#file://}" "$deb" ;;
        *) fail 2 "MUSTER_URL is neither an address nor an absolute path" ;;
    esac || fail 5 "the file of $package can't be fetched: see that this machine reaches it"
    [ "$(sha256sum <"$deb" | cut -c 1-64)" = "${MUSTER_SHA256-}" ] ||
        fail 3 "the file of $package has another SHA-256 than expected: nothing was installed"
    [ "$(dpkg-deb -f "$deb" Package)" = "${package%%:*}" ] ||
        fail 3 "the file is not one of $package: nothing was installed"
    case $version in
        '' | "$(dpkg-deb -f "$deb" Version)") ;;
        *) fail 3 "the file has another version of $package than $version: nothing was installed" ;;
    esac
    # apt reads it as a user of its own.
    chmod 755 "$folder" && chmod 644 "$deb"
}

main "$@" # What is appended to this line is a comment.
