//! Files are read as they are written, and what is wrong with one is named.

use std::collections::BTreeMap;

use muster_commands::ShellType;
use muster_commands::runs::{ParameterValue, Wording};
use muster_deployment_profiles::{Action, FileSource, Part, TaskWish, WantedFile};
use muster_kernel::{ScriptId, Tags};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

/// A file that says something of everything.
const WHOLE: &str = r#"muster: 1
profile:
  name: Linux Baseline
  description: |-
    What every machine has.
    And nothing else.
  target_os_type: linux
  tasks:
  - name: Greet
    description: "Says: \"hello\""
    action_type: script
    script: Greet
    parameters:
      count: 2.0
      loud: true
      who: "yes"
  - name: Tool
    action_type: software
    software: Tool
    operation: uninstall
    version: "1.10"
  - name: File
    action_type: file
    file:
      path: /etc/motd
      content: |+
        - one
        	two: #

      mode: "0600"
  - name: Download
    action_type: file
    file:
      path: /opt/tool
      url: https://example.org/tool
      sha256: 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824
  - name: Text
    action_type: command
    payload: |-
      echo one
      # two
    shell_type: bash
    args:
    - "on"
    - "~"
    - ""
    environment:
      COLOUR: green
    working_directory: /tmp
    check:
      command: test -e /nothing
    continue_on_error: true
    timeout: 30.0
  - name: Boot
    action_type: reboot
    reboot:
      only_if_changed: true
  - name: Boot again
    action_type: reboot
  - name: Wait
    action_type: wait
    payload: "true"
    interval: 2.5
scripts:
- name: Greet
  category: Manners
  tags:
  - hello
  script_type: sh
  parameters:
  - name: who
    type: string
    required: true
  - name: token
    type: secret
  content: |
    # Greets.
    echo "$who"
software:
- name: Tool
  variants:
  - os_type: linux
    installer: script
    detect: test -e /opt/tool
    install: touch /opt/tool
    timeout: 60.0
"#;

fn read(text: &str) -> Result<Bundle, String> {
    read_profile(text.as_bytes()).map_err(|problem| problem.document(None))
}

#[test]
fn a_file_is_written_as_it_was_read() {
    assert_eq!(write_profile(read(WHOLE).unwrap()).unwrap(), WHOLE);
}

#[test]
fn what_goes_without_saying_and_what_looks_like_a_number_may_be_written_by_people() {
    let text = "
muster: 1
profile:
  name: 2026
  description:
  tasks:
  - { name: File, action_type: file, file: { path: /a, content: 5, mode: 0644 } }
  - name: Text
    action_type: command
    payload: uptime
    environment: { PORT: 8080, DEBUG: no }
    args: [1, 0x1F, yes, 1.10]
    timeout: 5
scripts:
";
    let bundle = read(text).unwrap();
    assert_eq!((bundle.name.as_str(), bundle.description), ("2026", None));
    let mut tasks = bundle.tasks.into_iter();
    let Some(Action::File(file)) = tasks.next().map(|task| task.wish.action) else { panic!() };
    assert_eq!(file.mode.as_deref(), Some("0644"));
    let Some(Action::Command(text)) = tasks.next().map(|task| task.wish.action) else { panic!() };
    assert_eq!(text.args, ["1", "0x1F", "yes", "1.10"]);
    let environment = [("DEBUG", "no"), ("PORT", "8080")];
    assert!(text.environment.iter().map(|(name, it)| (&**name, &**it)).eq(environment));
}

#[test]
fn json_is_a_file_as_well() {
    let text = r#"{"muster": 1, "profile": {"name": "\ud83d\ude00", "tasks": [
        {"name": "a", "action_type": "command", "payload": "b", "timeout": 1e1}
    ]}}"#;
    let bundle = read(text).unwrap();
    assert_eq!((bundle.name.as_str(), bundle.tasks.len()), ("\u{1f600}", 1));
}

/// The smallest file, with something more in its profile.
fn with(more: &str) -> String {
    format!("muster: 1\nprofile:\n  name: a\n{more}")
}

/// One with a task that says this.
fn task(fields: &str) -> String {
    with(&format!("  tasks:\n  - name: b\n{fields}"))
}

#[test]
fn what_is_no_yaml_is_malformed_and_the_line_is_named() {
    let deep = format!("  tasks: {}{}\n", "[".repeat(100), "]".repeat(100));
    let long = format!("    action_type: command\n    args: [{}]\n", "a,".repeat(MAX_NODES));
    for (text, hint) in [
        (with("  description: 'open"), "line 4, column 16"),
        (with("  description: \"\\z\"\n"), "line 4"),
        (with(" tasks: []\n"), "line 4"),
        (with("  name: b\n"), "`name`"),
        (with("---\nmuster: 1\n"), "line 4"),
        (with("  tasks: &all []\n"), "anchors and aliases are not taken"),
        (with("  tasks: *all\n"), "line 4"),
        (with("  <<: {}\n"), "line 4"),
        (with("  description: !env HOME\n"), "line 4"),
        (with(&deep), "line 4"),
        (task(&long), "it is too large"),
        (String::new(), "end"),
    ] {
        let problem = read(&text).unwrap_err();
        assert!(problem.contains("MALFORMED_REQUEST") && problem.contains(hint), "{problem}");
    }
    assert!(read_profile(b"muster: 1\nprofile:\n  name: \xff\n").is_err());
}

#[test]
fn what_breaks_a_rule_is_pointed_at() {
    let (command, id) = ("    action_type: command\n    payload: x\n", Uuid::nil());
    for (text, pointer, hint) in [
        (with("").replace('1', "2"), "/muster", "1 is expected"),
        (with("colour: red\n"), "/colour", "`colour`"),
        (with("  colour: red\n"), "/profile/colour", "line 4"),
        (with("  is_template: maybe\n"), "/profile/is_template", "line 4"),
        (with("  target_os_type: beos\n"), "/profile/target_os_type", "`beos`"),
        (with("  tasks: [[]]\n"), "/profile/tasks/0", "line 4"),
        (with("scripts:\n- name: b\n  content: c\n"), "/scripts/0", "`script_type`"),
        (task(""), "/profile/tasks/0", "`action_type`"),
        (task("    action_type: script\n"), "/profile/tasks/0/script", "which one"),
        (task("    action_type: command\n"), "/profile/tasks/0/payload", "expected"),
        (task(&format!("{command}    order_index: 1\n")), "/profile/tasks/0/order_index", "order"),
        (task(&format!("{command}    timeout: .inf\n")), "/profile/tasks/0/timeout", "a number"),
        (task(&format!("{command}    script_id: {id}\n")), "/profile/tasks/0/script_id", "name"),
        (
            task(&format!("{command}    description: \"\\0\"\n")),
            "/profile/tasks/0/description",
            "NUL",
        ),
    ] {
        let problem = read(&text).unwrap_err();
        let points = problem.contains(&format!("\"{pointer}\"")) && problem.contains(hint);
        assert!(problem.contains("VALIDATION_FAILED") && points, "{text}: {problem}");
    }
}

/// Texts of what YAML reads as something else than it stands for.
fn odd_text() -> impl Strategy<Value = String> {
    let words = "- # : ' \" | > ~ null yes 0x1F 1_000 1e3 .inf 2026-01-01 --- ... \u{85} \u{2028} \
        \u{2029} \u{feff} \u{7f} \u{1b} \u{fffe} é \u{1f600} { [ ]} , &a *a !t % @ ` << = ? \\ a word";
    let blanks = [" ", "  ", "    ", "\n", "\n\n", "\t", "\r", "\r\n"];
    let parts: Vec<_> = words.split(' ').chain(blanks).collect();
    prop_oneof![
        prop::collection::vec(prop::sample::select(parts), 0..12).prop_map(|it| it.concat()),
        "[^\0]{0,40}",
    ]
}

/// A profile that says these texts, again and again, wherever it can say any.
fn saying(texts: &[String]) -> Bundle {
    let mut texts = texts.iter().cycle().cloned();
    let mut text = || texts.next().unwrap();
    let command = Action::Command(Wording {
        command: text(),
        args: vec![text(), text(), text()],
        environment: BTreeMap::from([(text(), text()), (text(), text())]),
        working_directory: Some(text()),
        ..Wording::default()
    });
    let parameters = BTreeMap::from([(text(), ParameterValue::Text(text()))]);
    let script = Action::Script { script_id: ScriptId::from_uuid(Uuid::nil()), parameters };
    let (path, source) = (text(), FileSource::Content(text()));
    let file = Action::File(WantedFile { path, source, mode: Some(text()) });
    let tasks = [(command, None), (script, Some(text())), (file, None)].map(|(action, named)| {
        let wish = TaskWish {
            name: text(),
            description: Some(text()),
            order_index: None,
            action,
            check: Some(Wording { command: text(), ..Wording::default() }),
            continue_on_error: false,
            timeout: None,
        };
        Part { wish, named }
    });
    let about = About {
        name: text(),
        description: None,
        category: Some(text()),
        tags: Tags::default(),
        target_os_type: None,
        shell_type: ShellType::Sh,
        parameters: Vec::new(),
    };
    Bundle {
        name: text(),
        description: Some(text()),
        target_os_type: None,
        is_template: true,
        tasks: tasks.into(),
        scripts: vec![ScriptPart { about, text: text().into() }],
        software: Vec::new(),
    }
}

proptest! {
    #[test]
    fn any_text_is_read_as_it_was_written(texts in prop::collection::vec(odd_text(), 1..8)) {
        let bundle = saying(&texts);
        let text = write_profile(bundle.clone()).unwrap();
        let again = read(&text);
        prop_assert_eq!(again.as_ref(), Ok(&bundle), "{}", text);
        prop_assert_eq!(write_profile(bundle).unwrap(), text);
    }

    #[test]
    fn any_file_is_read_or_refused(text in odd_text(), at in any::<prop::sample::Index>()) {
        let mut file = WHOLE.to_owned();
        let places: Vec<_> = file.char_indices().map(|(place, _)| place).collect();
        file.insert_str(*at.get(&places), &text);
        if let Ok(bundle) = read(&file) {
            let written = write_profile(bundle.clone()).unwrap();
            prop_assert_eq!(read(&written), Ok(bundle), "{}", written);
        }
    }
}
