//! Files.

use super::*;

const FILE: &str = include_str!("../../src/texts/file.sh");

/// A file that is to be at `path` below `place`.
fn file<'a>(place: &'a TempDir, path: &str, base64: &str, content: &[u8]) -> Run<'a> {
    Run { text: FILE, place: place.path(), variables: Vec::new() }
        .with("MUSTER_PATH", place.path().join(path).display().to_string())
        .with("MUSTER_CONTENT", base64)
        .with("MUSTER_SHA256", hex(content))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_new_file_comes_with_its_folders_and_its_mode() {
    let place = tempfile::tempdir().unwrap();
    let name = "a b/$(touch owned)'\"/-f";
    let run = file(&place, name, "aGVsbG8K", b"hello\n").with("MUSTER_MODE", "0640");
    assert!(!run.check());
    run.apply();
    assert!(run.check());
    let path = place.path().join(name);
    assert_eq!(fs::read(&path).unwrap(), b"hello\n");
    assert_eq!(mode(&path), 0o640);
    assert_eq!(mode(path.parent().unwrap()), 0o755);
    assert_eq!(listed(place.path()), ["a b", "tmp"]);
}

#[test]
fn a_file_that_is_right_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let run = file(&place, "f", "aGVsbG8K", b"hello\n").with("MUSTER_MODE", "644");
    run.apply();
    let before = fs::metadata(place.path().join("f")).unwrap();
    run.apply();
    let after = fs::metadata(place.path().join("f")).unwrap();
    assert_eq!((after.ino(), after.ctime_nsec()), (before.ino(), before.ctime_nsec()));
}

#[test]
fn a_file_that_somebody_changed_becomes_right_again() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("f");
    let run = file(&place, "f", "aGVsbG8K", b"hello\n").with("MUSTER_MODE", "4750");
    run.apply();
    assert_eq!(mode(&path), 0o4750);
    fs::write(&path, "bye\n").unwrap();
    assert!(!run.check());
    run.apply();
    assert!(run.check());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(!run.check());
    run.apply();
    assert!(run.check());
}

#[test]
fn a_file_keeps_its_mode_unless_one_is_wanted() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("f");
    let run = file(&place, "f", "aGVsbG8K", b"hello\n");
    run.apply();
    assert_eq!(mode(&path), 0o644);
    fs::write(&path, "bye\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    run.apply();
    assert_eq!((mode(&path), fs::read(&path).unwrap()), (0o600, b"hello\n".to_vec()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert!(run.check());
}

#[test]
fn content_with_another_sum_replaces_nothing_and_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("f"), "before").unwrap();
    let run = file(&place, "f", "aGVsbG8K", b"bye\n");
    let (code, message) = run.failure();
    assert_eq!(code, 3);
    assert!(message.contains("nothing was replaced"), "{message}");
    assert_eq!(run.clone().with("MUSTER_CONTENT", "=no=base64=").failure().0, 5);
    assert_eq!(run.with("MUSTER_SHA256", "").failure().0, 2);
    assert_eq!(fs::read(place.path().join("f")).unwrap(), b"before");
    assert_eq!(listed(place.path()), ["f", "tmp"]);
}

#[test]
fn only_files_are_replaced() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    fs::write(at("target"), "hello\n").unwrap();
    fs::create_dir(at("folder")).unwrap();
    symlink("target", at("link")).unwrap();
    symlink("folder", at("link-to-folder")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    for name in ["link", "link-to-folder", "dangling", "folder", "new/", "new/.", "new/.."] {
        let run = file(&place, name, "aGVsbG8K", b"hello\n");
        assert!(!run.check(), "{name}");
        assert_eq!(run.failure().0, 4, "{name}");
    }
    let names = ["dangling", "folder", "link", "link-to-folder", "target", "tmp"];
    assert_eq!(listed(place.path()), names);
    assert!(listed(&at("folder")).is_empty());
    file(&place, "link-to-folder/f", "aGVsbG8K", b"hello\n").apply();
    assert_eq!(listed(&at("folder")), ["f"]);
}

#[test]
fn a_file_arrives_byte_for_byte() {
    let place = tempfile::tempdir().unwrap();
    let large = vec![0; 3 << 13];
    let base64 = "AAAA".repeat(1 << 13);
    let contents: [(&str, &[u8]); 4] = [
        ("", b""),
        ("YQBi/w0KJQ==", b"a\0b\xff\r\n%"),
        ("XG5cMFwxMDEkeA==", br"\n\0\101$x"),
        (&base64, &large),
    ];
    for (base64, content) in contents {
        let run = file(&place, "f", base64, content);
        assert!(!run.check());
        run.apply();
        assert!(run.check());
        assert_eq!(fs::read(place.path().join("f")).unwrap(), content);
    }
}

#[test]
fn a_file_comes_from_elsewhere() {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("the source");
    fs::write(&source, "hello\n").unwrap();
    let run = |url: String| file(&place, "f", "", b"hello\n").with("MUSTER_URL", url);
    let path = source.display();
    assert_eq!(run(format!("{path}-of-another")).failure().0, 5);
    assert_eq!(run("http://127.0.0.1:1/f".into()).failure().0, 5);
    assert_eq!(run("-o/etc/passwd".into()).failure().0, 2);
    assert_eq!(listed(place.path()), ["the source", "tmp"]);
    for url in [path.to_string(), format!("file://{path}")] {
        run(url).apply();
        assert_eq!(fs::read(place.path().join("f")).unwrap(), b"hello\n");
        fs::remove_file(place.path().join("f")).unwrap();
    }
}

#[test]
fn a_file_is_downloaded() {
    let place = tempfile::tempdir().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut request = String::new();
            stream.read_line(&mut request).unwrap();
            while stream.read_line(&mut String::new()).unwrap() > 2 {}
            let status = if request.starts_with("GET /{f}?[1-2] ") { "200 OK" } else { "404 No" };
            let answer = format!("HTTP/1.0 {status}\r\nContent-Length: 6\r\n\r\nhello\n");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    let run = |path: &str| {
        file(&place, "f", "", b"hello\n").with("MUSTER_URL", format!("http://{address}/{path}"))
    };
    assert_eq!(run("g").failure().0, 5);
    assert_eq!(listed(place.path()), ["tmp"]);
    run("{f}?[1-2]").apply();
    assert_eq!(fs::read(place.path().join("f")).unwrap(), b"hello\n");
}

#[test]
fn what_is_no_file_at_all_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let run = file(&place, "f", "aGVsbG8K", b"hello\n");
    assert_eq!(run.clone().with("MUSTER_PATH", "f").failure().0, 2);
    assert_eq!(run.clone().with("MUSTER_PATH", "").failure().0, 2);
    assert_eq!(run.clone().with("MUSTER_MODE", "0$(touch owned)").failure().0, 2);
    assert_eq!(failure(&run.output("remove", &[])).0, 2);
    assert_eq!(listed(place.path()), ["tmp"]);
}
