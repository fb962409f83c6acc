//! Parameters in bodies.

use muster_commands::library::{Parameter, ParameterKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::extract::finite;
use crate::routes::settings::any_value;

/// Which values a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ParameterType {
    /// Any text.
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// One of `choices`.
    Choice,
    /// A text that is never shown again; it has no default.
    Secret,
}

/// Something that may be said when a script or saved command is run.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Parameter)]
pub(crate) struct ParameterBody {
    /// The name of the environment variable that the value comes as.
    #[schema(example = "count")]
    name: String,
    #[serde(rename = "type")]
    #[schema(inline)]
    kind: ParameterType,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Whether it has to be said, unless there is a default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = bool, required = false)]
    required: Option<bool>,
    /// What it is when nobody says, of its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = any_value)]
    default: Option<Value>,
    /// Of a string: how many characters it may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_length: Option<u32>,
    /// Of a number: the least.
    #[serde(default, deserialize_with = "finite", skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    /// Of a number: the greatest.
    #[serde(default, deserialize_with = "finite", skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
    /// Of a number: whether it has to be a whole one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    integer: Option<bool>,
    /// Of a choice: what there is to choose from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    choices: Option<Vec<String>>,
}

/// A field that breaks a rule, and which.
type Broken = (&'static str, &'static str);

impl ParameterBody {
    /// The parameter that it describes.
    pub(super) fn read(self) -> Result<Parameter, Broken> {
        self.check_fields()?;
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let kind = match self.kind {
            ParameterType::String => ParameterKind::String {
                max_length: self.max_length,
                default: self.default_as(text, "a text is expected")?,
            },
            ParameterType::Number => ParameterKind::Number {
                min: self.min,
                max: self.max,
                integer: self.integer.unwrap_or(false),
                default: self.default_as(Value::as_f64, "a number is expected")?,
            },
            ParameterType::Boolean => ParameterKind::Boolean {
                default: self.default_as(Value::as_bool, "true or false is expected")?,
            },
            ParameterType::Choice => ParameterKind::Choice {
                default: self.default_as(text, "one of the choices is expected")?,
                choices: self.choices.unwrap_or_default(),
            },
            ParameterType::Secret => ParameterKind::Secret,
        };
        Ok(Parameter {
            name: self.name,
            kind,
            label: self.label.filter(|label| !label.is_empty()),
            description: self.description.filter(|description| !description.is_empty()),
            required: self.required.unwrap_or(false),
        })
    }

    /// The same without what goes without saying.
    pub(crate) fn brief(self) -> Self {
        let is_said = |said: &bool| *said;
        let (required, integer) = (self.required.filter(is_said), self.integer.filter(is_said));
        Self { required, integer, ..self }
    }

    /// That nothing is said which only counts for another type.
    fn check_fields(&self) -> Result<(), Broken> {
        use ParameterType::{Choice, Number, Secret, String};
        let only = |given: bool, of: ParameterType| given && self.kind != of;
        if self.kind == Secret && self.default.is_some() {
            return Err(("default", "a secret has none: it would be there for all to read"));
        }
        if only(self.max_length.is_some(), String) {
            return Err(("max_length", "only a string has it"));
        }
        for (field, given) in [
            ("min", self.min.is_some()),
            ("max", self.max.is_some()),
            ("integer", self.integer.is_some()),
        ] {
            if only(given, Number) {
                return Err((field, "only a number has it"));
            }
        }
        if only(self.choices.is_some(), Choice) {
            return Err(("choices", "only a choice has them"));
        }
        Ok(())
    }

    fn default_as<T>(
        &self,
        read: impl Fn(&Value) -> Option<T>,
        rule: &'static str,
    ) -> Result<Option<T>, Broken> {
        let value = self.default.as_ref().filter(|value| !value.is_null());
        value.map(|value| read(value).ok_or(("default", rule))).transpose()
    }
}

impl From<&Parameter> for ParameterBody {
    fn from(parameter: &Parameter) -> Self {
        let bare = |kind| Self {
            name: parameter.name.clone(),
            kind,
            label: parameter.label.clone(),
            description: parameter.description.clone(),
            required: Some(parameter.required),
            default: None,
            max_length: None,
            min: None,
            max: None,
            integer: None,
            choices: None,
        };
        match parameter.kind.clone() {
            ParameterKind::String { max_length, default } => Self {
                max_length,
                default: default.map(Value::from),
                ..bare(ParameterType::String)
            },
            ParameterKind::Number { min, max, integer, default } => Self {
                min,
                max,
                integer: Some(integer),
                default: default.map(Value::from),
                ..bare(ParameterType::Number)
            },
            ParameterKind::Boolean { default } => {
                Self { default: default.map(Value::from), ..bare(ParameterType::Boolean) }
            }
            ParameterKind::Choice { choices, default } => Self {
                choices: Some(choices),
                default: default.map(Value::from),
                ..bare(ParameterType::Choice)
            },
            ParameterKind::Secret => bare(ParameterType::Secret),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<Parameter, Broken> {
        serde_json::from_value::<ParameterBody>(body).unwrap().read()
    }

    #[test]
    fn every_type_comes_back_as_it_was_sent() {
        for body in [
            json!({"name": "a", "type": "string", "required": true, "max_length": 5, "default": "x"}),
            json!({"name": "a", "type": "number", "required": false, "min": 0.5, "max": 3.0, "integer": false}),
            json!({"name": "a", "type": "boolean", "required": false, "default": false, "label": "A"}),
            json!({"name": "a", "type": "choice", "required": false, "choices": ["x", "y"]}),
            json!({"name": "a", "type": "secret", "required": true, "description": "why"}),
        ] {
            let parameter = read(body.clone()).unwrap();
            let shown = serde_json::to_value(ParameterBody::from(&parameter)).unwrap();
            assert_eq!(shown, body);
        }
    }

    #[test]
    fn what_its_type_does_not_have_is_refused() {
        for (body, field) in [
            (json!({"name": "a", "type": "secret", "default": "hunter2"}), "default"),
            (json!({"name": "a", "type": "number", "default": "5"}), "default"),
            (json!({"name": "a", "type": "number", "max_length": 5}), "max_length"),
            (json!({"name": "a", "type": "string", "min": 5}), "min"),
            (json!({"name": "a", "type": "boolean", "choices": []}), "choices"),
        ] {
            assert_eq!(read(body).unwrap_err().0, field);
        }
    }
}
