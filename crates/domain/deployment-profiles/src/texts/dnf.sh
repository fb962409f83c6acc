# Checks, installs or removes a package with dnf, or with yum where there is no dnf.
main() {
    set -u
    package=${MUSTER_PACKAGE-} version=${MUSTER_VERSION-}
    # Both read globs, groups and options where they expect a name.
    case $package in
        '' | [!A-Za-z0-9]* | *[!A-Za-z0-9+._-]*) fail 2 "'$package' is no name of a package" ;;
    esac
    case $version in
        *[!A-Za-z0-9.+:~^_-]*) fail 2 "'$version' is no version of a package" ;;
    esac
    case ${MUSTER_WANTED-} in
        present | absent) ;;
        *) fail 2 "MUSTER_WANTED is neither 'present' nor 'absent'" ;;
    esac

    as_wanted && exit 0
    case ${MUSTER_OPERATION-} in
        check) exit 1 ;;
        apply) ;;
        *) fail 2 "MUSTER_OPERATION is neither 'check' nor 'apply'" ;;
    esac
    tool=dnf
    command -v dnf >/dev/null || tool=yum
    "make_$MUSTER_WANTED" "$@"
    as_wanted || fail 1 "$tool ended well, but $package is not as it is wanted: see what it wrote"
}

fail() {
    status=$1
    shift
    printf 'muster: %s\n' "$*" >&2
    exit "$status"
}

as_wanted() {
    forms='%{VERSION}\n%{VERSION}-%{RELEASE}\n%{EVR}\n'
    if known=$(rpm -q --qf "$forms" -- "$package" 2>/dev/null); then
        case $MUSTER_WANTED-$version in
            present-) ;;
            present-*) printf '%s\n' "$known" | grep -Fqx -- "$version" ;;
            absent-*) false ;;
        esac
    else
        # It fails in the same way when it can't read its database, where it is itself.
        rpm -q rpm >/dev/null 2>&1 ||
            fail 2 "rpm fails: see that this machine has it, and that its database is in order"
        [ "$MUSTER_WANTED" = absent ]
    fi
}

make_present() {
    target=$package
    case $version-$package in
        -*) ;;
        *.x86_64 | *.i686 | *.aarch64 | *.armv7hl | *.ppc64le | *.s390x | *.riscv64 | *.noarch)
            target=${package%.*}-$version.${package##*.} ;;
        *) target=$package-$version ;;
    esac
    "$tool" install -y "$@" "$target" </dev/null ||
        fail $? "$tool could not install $target: it says why above"
    # yum leaves a newer version alone.
    if [ -n "$version" ] && ! as_wanted; then
        "$tool" downgrade -y "$@" "$target" </dev/null ||
            fail $? "$tool could not install the older $target: it says why above"
    fi
}

make_absent() {
    "$tool" remove -y "$package" </dev/null ||
        fail $? "$tool could not remove $package: it says why above"
}

main "$@" # What is appended to this line is a comment.
