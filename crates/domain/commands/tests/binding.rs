//! Values of parameters arrive in real shells byte for byte, or are refused; never are they read
//! as code.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::process::Command;

use muster_commands::ShellType;
use muster_commands::library::{
    Bound, InvalidParameter, Kind, MAX_VALUE_BYTES, Manner, Parameter, ParameterKind, bind,
};
use muster_commands::runs::{ParameterValue, Parameters};
use proptest::prelude::*;

const SHELLS: [ShellType; 5] =
    [ShellType::Sh, ShellType::Bash, ShellType::Cmd, ShellType::Powershell, ShellType::Pwsh];

fn text(name: &str) -> Parameter {
    Parameter::new(name, ParameterKind::String { max_length: None, default: None })
}

fn manner(shell_type: ShellType) -> Manner {
    Manner { kind: Kind::Script, shell_type, room: 4 * MAX_VALUE_BYTES }
}

fn bound(
    shell_type: ShellType,
    parameters: &[Parameter],
    values: &[(&str, ParameterValue)],
) -> Result<Bound, Vec<InvalidParameter>> {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    bind(manner(shell_type), parameters, &values.collect::<Parameters>())
}

fn of(text: &str) -> ParameterValue {
    ParameterValue::Text(text.to_owned())
}

fn broken(result: Result<Bound, Vec<InvalidParameter>>) -> Vec<String> {
    result.unwrap_err().into_iter().map(|error| error.name).collect()
}

/// Runs a script file with what was bound; answers with what it wrote.
fn run(shell: &str, script: &str, bound: &Bound) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script).unwrap();
    let secrets = bound.secrets.iter().map(|(name, secret)| (name, secret.expose()));
    let output = Command::new(shell)
        .arg(file.path())
        .args(&bound.args)
        .envs(&bound.environment)
        .envs(secrets)
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    output.stdout
}

/// Everything that a shell could read as something else, in every order.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "'",
        "\"",
        "\\",
        "$(touch hacked)",
        "`touch hacked`",
        ";",
        "&&",
        "|",
        ">x",
        "\n",
        "\r",
        "\t",
        " ",
        "$HOME",
        "${IFS}",
        "*",
        "~",
        "!",
        "#",
        "-n",
        "--",
        "%PATH%",
        "^",
        "ä",
        "\u{1f980}",
        "\u{2019}",
        "\u{202e}",
        "\u{1b}[31m",
        "\u{7f}",
        "a",
        "=",
        "(",
        ")",
        "{a,b}",
        "[a]",
        "<(id)",
        "\u{feff}",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_bound_arrives_byte_for_byte(
        first in prop_oneof![hostile(), any::<String>()],
        second in hostile(),
        secret in hostile(),
    ) {
        let parameters = [text("first"), text("second"), Parameter::secret("key")];
        let values = [("first", of(&first)), ("second", of(&second)), ("key", of(&secret))];
        for (shell, shell_type) in [("sh", ShellType::Sh), ("bash", ShellType::Bash)] {
            let result = bound(shell_type, &parameters, &values);
            let must_refuse = first.contains('\0') || secret.chars().count() < 4;
            prop_assert_eq!(result.is_err(), must_refuse);
            let Ok(bound) = result else { continue };
            let script = r#"printf '%s\0' "$first" "$second" "$key" "$#" "$@""#;
            let written = run(shell, script, &bound);
            let expected = [&first, &second, &secret, "2", &first, &second, ""].join("\0");
            prop_assert_eq!(written, expected.into_bytes());
        }
    }

    #[test]
    fn powershell_takes_every_value_for_the_value_of_its_parameter(value in hostile()) {
        for shell in [ShellType::Powershell, ShellType::Pwsh] {
            let bound = bound(shell, &[text("name")], &[("name", of(&value))]).unwrap();
            // The colon is what makes the next argument a value, whatever it begins with.
            prop_assert_eq!(&bound.args, &["-name:".to_owned(), value.clone()]);
        }
    }

    #[test]
    fn cmd_gets_no_character_that_it_would_interpret(value in hostile()) {
        let special = value.contains(['"', '%', '!', '^', '&', '|', '<', '>', '(', ')', '\r', '\n']);
        for kind in [Kind::Script, Kind::SavedCommand] {
            let manner = Manner { kind, ..manner(ShellType::Cmd) };
            let values = [("name".to_owned(), of(&value))].into();
            prop_assert_eq!(bind(manner, &[text("name")], &values).is_err(), special);
        }
    }

    #[test]
    fn a_number_reads_back_from_its_text_and_has_no_exponent(number in any::<f64>()) {
        let kind = ParameterKind::Number { min: None, max: None, integer: false, default: None };
        let parameters = [Parameter::new("n", kind)];
        let result = bound(ShellType::Sh, &parameters, &[("n", ParameterValue::Number(number))]);
        prop_assert_eq!(result.is_err(), number.is_nan() || number.abs() > 9_007_199_254_740_992.0);
        if let Ok(bound) = result {
            let text = &bound.environment["n"];
            prop_assert!(text.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-'), "{}", text);
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), (number + 0.0).to_bits());
        }
    }
}

#[test]
fn a_value_of_100_kib_arrives_and_a_longer_one_is_refused() {
    for (shell, shell_type) in [("sh", ShellType::Sh), ("bash", ShellType::Bash)] {
        for unit in ["x", "'", "\n", "é"] {
            let long = unit.repeat(MAX_VALUE_BYTES / unit.len());
            let bound = bound(shell_type, &[text("long")], &[("long", of(&long))]);
            let Ok(bound) = bound else {
                assert_eq!(unit, "\n", "as JSON it is twice as long as there is room for");
                continue;
            };
            let written = run(shell, r#"printf %s "$long$1""#, &bound);
            assert_eq!(written, long.repeat(2).into_bytes());
        }
    }
    let longer = "x".repeat(MAX_VALUE_BYTES + 1);
    for shell in SHELLS {
        assert_eq!(broken(bound(shell, &[text("long")], &[("long", of(&longer))])), ["long"]);
    }
}

#[test]
fn everything_that_breaks_a_rule_is_told_at_once() {
    let required = Parameter { required: true, ..text("required") };
    let number =
        ParameterKind::Number { min: Some(1.0), max: Some(9.0), integer: false, default: None };
    let choices = vec!["a".to_owned()];
    let parameters = [
        required,
        Parameter::new("number", number.clone()),
        Parameter::new("kind", number),
        Parameter::new("choice", ParameterKind::Choice { choices, default: None }),
        Parameter::new("flag", ParameterKind::Boolean { default: None }),
        Parameter::secret("secret"),
        Parameter::new("short", ParameterKind::String { max_length: Some(2), default: None }),
        text("nul"),
    ];
    let values = [
        ("unknown", of("x")),
        ("number", ParameterValue::Number(10.0)),
        ("kind", of("5")),
        ("choice", of("b")),
        ("flag", of("true")),
        ("secret", of("abc")),
        ("short", of("äöü")),
        ("nul", of("a\0b")),
    ];
    let expected =
        ["unknown", "required", "number", "kind", "choice", "flag", "secret", "short", "nul"];
    for shell in SHELLS {
        assert_eq!(broken(bound(shell, &parameters, &values)), expected);
    }
}

#[test]
fn arguments_keep_their_places_and_secrets_are_none() {
    let boolean = ParameterKind::Boolean { default: None };
    let count = ParameterKind::Number { min: None, max: None, integer: true, default: Some(10.0) };
    let parameters = [
        text("path"),
        Parameter::secret("key"),
        Parameter::new("force", boolean.clone()),
        Parameter::new("quiet", boolean),
        Parameter::new("count", count),
    ];
    let flag = ParameterValue::Boolean;
    let values = [("key", of("s3cret")), ("force", flag(true)), ("quiet", flag(false))];
    let args = |shell| bound(shell, &parameters, &values).unwrap().args;
    for shell in [ShellType::Sh, ShellType::Bash, ShellType::Cmd] {
        assert_eq!(args(shell), ["", "true", "false", "10"]);
    }
    assert_eq!(args(ShellType::Pwsh), ["-force:$true", "-quiet:$false", "-count:", "10"]);
    assert_eq!(args(ShellType::Powershell), ["-force", "-count:", "10"]);
    let saved = Manner { kind: Kind::SavedCommand, ..manner(ShellType::Sh) };
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let bound = bind(saved, &parameters, &values).unwrap();
    assert!(bound.args.is_empty());
    let shown: Vec<_> =
        bound.environment.iter().map(|(name, text)| format!("{name}={text}")).collect();
    assert_eq!(shown, ["count=10", "force=true", "quiet=false"]);
    assert!(!format!("{bound:?}").contains("s3cret"));
}

#[test]
fn what_windows_or_an_order_can_not_carry_is_refused() {
    let parameters: Vec<_> = (0..3).map(|n| text(&format!("p{n}"))).collect();
    let long = of(&"x".repeat(2500));
    let values = [("p0", long.clone()), ("p1", long.clone()), ("p2", of(&"x".repeat(2600)))];
    assert_eq!(broken(bound(ShellType::Cmd, &parameters, &values)), ["p2"]);
    assert!(bound(ShellType::Powershell, &parameters, &values).is_ok());
    let longer = [("p1", of(&"x".repeat(32_001)))];
    assert_eq!(broken(bound(ShellType::Powershell, &parameters, &longer)), ["p1"]);
    let tight = Manner { room: 7000, ..manner(ShellType::Sh) };
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    assert_eq!(broken(bind(tight, &parameters, &values)), ["p2"]);
}
