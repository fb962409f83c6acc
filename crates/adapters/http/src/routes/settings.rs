//! Settings.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_kernel::{ProblemCode, act};
use muster_settings::{Kind, MASK, SettingsError, Shown};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType};

use crate::extract::{Json, ListAnswer, May};
use crate::{AppState, Problem};

impl From<SettingsError> for Problem {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Unknown(ref key) => {
                Self::new(ProblemCode::NotFound, format!("{key}: {error}"))
            }
            SettingsError::Invalid(error) => Self::invalid(format!("/{}", error.key), error.rule),
            SettingsError::Storage(error) => error.into(),
        }
    }
}

/// A value of whichever type.
pub(super) fn any_value() -> Schema {
    Schema::Object(ObjectBuilder::new().schema_type(SchemaType::AnyValue).build())
}

/// A setting.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SettingAnswer {
    #[schema(example = "registration_open")]
    key: &'static str,
    /// What it is for.
    description: &'static str,
    /// `text`, `number`, `boolean`, `choice` or `secret`.
    kind: &'static str,
    /// Of a choice, what there is to choose from.
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    choices: &'static [&'static str],
    /// What it is; a secret that is set is masked, one that is not is null.
    #[schema(schema_with = any_value)]
    value: Value,
    /// Since when it is not what it was at first; null while it is.
    set_at: Option<DateTime<Utc>>,
}

impl From<Shown> for SettingAnswer {
    fn from(shown: Shown) -> Self {
        let (kind, choices): (_, &'static [&'static str]) = match shown.key.kind() {
            Kind::Text(_) | Kind::Address(_) => ("text", &[]),
            Kind::Number(..) => ("number", &[]),
            Kind::Boolean => ("boolean", &[]),
            Kind::Choice(choices) => ("choice", choices),
            Kind::Secret(_) => ("secret", &[]),
        };
        let masked = || shown.set_at.map_or(Value::Null, |_| Value::from(MASK));
        Self {
            key: shown.key.as_str(),
            description: shown.key.description(),
            kind,
            choices,
            value: shown.value.unwrap_or_else(masked),
            set_at: shown.set_at,
        }
    }
}

/// Every setting, the secret ones masked.
#[utoipa::path(
    get, path = "/settings", tag = "settings", operation_id = "list_settings",
    responses((status = 200, body = ListAnswer<SettingAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadSettings>,
) -> Result<impl Responder, Problem> {
    let items = state.settings.list(&permit).into_iter().map(SettingAnswer::from).collect();
    Ok(web::Json(ListAnswer::whole(items)))
}

/// Change settings by their names, all of them or none. It takes effect at once here, and within
/// seconds on other nodes.
#[utoipa::path(
    put, path = "/settings", tag = "settings", operation_id = "update_settings",
    request_body(content = Object, example = json!({ "registration_open": false })),
    responses((status = 200, body = ListAnswer<SettingAnswer>), (status = 404, description = "no such setting")),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::ManageSettings>,
    reading: May<act::ReadSettings>,
    body: Json<BTreeMap<String, Value>>,
) -> Result<impl Responder, Problem> {
    let values = body.value().await?;
    state.settings.set(&permit, &values).await?;
    let items = state.settings.list(&reading).into_iter().map(SettingAnswer::from).collect();
    Ok(web::Json(ListAnswer::whole(items)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingRequest {
    key: String,
    #[schema(schema_with = any_value)]
    value: Value,
}

/// Change one setting.
#[utoipa::path(
    post, path = "/settings", tag = "settings", operation_id = "update_setting",
    request_body = SettingRequest,
    responses((status = 200, body = SettingAnswer), (status = 404, description = "no such setting")),
)]
pub(crate) async fn update_one(
    state: web::Data<AppState>,
    permit: May<act::ManageSettings>,
    reading: May<act::ReadSettings>,
    body: Json<SettingRequest>,
) -> Result<impl Responder, Problem> {
    let SettingRequest { key, value } = body.value().await?;
    state.settings.set(&permit, &BTreeMap::from([(key.clone(), value)])).await?;
    Ok(web::Json(SettingAnswer::from(state.settings.get(&reading, &key)?)))
}

fn key(request: &HttpRequest) -> &str {
    request.match_info().get("key").unwrap_or_default()
}

/// One setting.
#[utoipa::path(
    get, path = "/settings/{key}", tag = "settings", operation_id = "read_setting",
    params(("key" = String, Path)),
    responses((status = 200, body = SettingAnswer), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadSettings>,
    request: HttpRequest,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(SettingAnswer::from(state.settings.get(&permit, key(&request))?)))
}

/// Put a setting back to what it was at first.
#[utoipa::path(
    delete, path = "/settings/{key}", tag = "settings", operation_id = "reset_setting",
    params(("key" = String, Path)), responses((status = 204), (status = 404)),
)]
pub(crate) async fn reset(
    state: web::Data<AppState>,
    permit: May<act::ManageSettings>,
    request: HttpRequest,
) -> Result<impl Responder, Problem> {
    state.settings.reset(&permit, key(&request)).await?;
    Ok(HttpResponse::NoContent())
}
