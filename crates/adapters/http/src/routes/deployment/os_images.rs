//! Images that machines are made from.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_deployment_profiles::{CatalogFilter, Change, ImagedAgent, OsImage, OsImageBody};
use muster_kernel::{AgentId, CustomerId, OsImageId, act};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::extract::{Id, IfMatch, Json, ListAnswer, May, PageQuery, Query, etag, some};
use crate::routes::agent_query::OsTypeParameter;
use crate::routes::library::check_owner;
use crate::{AppState, Problem};

/// An image that is to be kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OsImageRequest {
    /// 1 to 200 printable characters. No two of a customer's have the same, upper and lower case
    /// alike, and no two that are shared.
    name: String,
    #[schema(inline)]
    os_type: OsTypeParameter,
    /// Which version of which system.
    #[schema(example = "Debian 13.2")]
    os_version: String,
    /// The SHA-256 of its file, as 64 hexadecimal digits.
    checksum: Option<String>,
    /// Where its file is.
    url: Option<String>,
    description: Option<String>,
    /// Whose it is. Unless given it is shared with all, when you work for all customers, and your
    /// customer's when you work for one.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
}

/// A change to an image; what is left out stays, and null removes what can be removed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "null says something else than nothing")]
pub(crate) struct OsImageUpdate {
    name: Option<String>,
    #[schema(inline)]
    os_type: Option<OsTypeParameter>,
    os_version: Option<String>,
    #[serde(default, deserialize_with = "some")]
    checksum: Option<Option<String>>,
    #[serde(default, deserialize_with = "some")]
    url: Option<Option<String>>,
    #[serde(default, deserialize_with = "some")]
    description: Option<Option<String>>,
    /// Whose it is, which never changes.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
}

impl OsImageUpdate {
    /// The change that it makes to what an image says.
    fn change(self, before: OsImageBody) -> Result<Change<OsImageBody>, Problem> {
        let body = OsImageBody {
            os_type: self.os_type.map_or(before.os_type, Into::into),
            os_version: self.os_version.unwrap_or(before.os_version),
            checksum: self.checksum.unwrap_or(before.checksum),
            url: self.url.unwrap_or(before.url),
        };
        let (name, description) = (self.name, self.description);
        Ok(Change { name, description, body: Some(body.check()?) })
    }
}

/// An image that machines are made from.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OsImageAnswer {
    id: Uuid,
    /// Whose it is; null when it is shared with all.
    customer_id: Option<Uuid>,
    name: String,
    /// `linux`, `windows`, `macos` or `other`.
    os_type: &'static str,
    os_version: String,
    checksum: Option<String>,
    url: Option<String>,
    description: Option<String>,
    /// How often it was written; the `ETag` of its answers.
    version: u32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<OsImage> for OsImageAnswer {
    fn from(image: OsImage) -> Self {
        Self {
            id: image.id.as_uuid(),
            customer_id: image.customer_id.map(CustomerId::as_uuid),
            name: image.name,
            os_type: image.body.os_type.as_str(),
            os_version: image.body.os_version,
            checksum: image.body.checksum,
            url: image.body.url,
            description: image.description,
            version: image.version,
            created_at: image.created_at,
            updated_at: image.updated_at,
        }
    }
}

/// What a machine was made from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImagedRequest {
    os_image_id: Uuid,
    /// When; now unless given.
    imaged_at: Option<DateTime<Utc>>,
}

/// What a machine was made from.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImagedAnswer {
    agent_id: Uuid,
    os_image_id: Uuid,
    /// What the image is called.
    name: String,
    imaged_at: DateTime<Utc>,
}

impl From<ImagedAgent> for ImagedAnswer {
    fn from(imaged: ImagedAgent) -> Self {
        let ImagedAgent { agent_id, os_image_id, name, imaged_at, .. } = imaged;
        Self { agent_id: agent_id.as_uuid(), os_image_id: os_image_id.as_uuid(), name, imaged_at }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OsImageQuery {
    /// Only those whose name contains this.
    q: Option<String>,
    /// Only this customer's own.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    #[param(inline)]
    os_type: Option<OsTypeParameter>,
}

/// The images, in the order of their creation.
#[utoipa::path(
    get, path = "/os-images", tag = "deployment", operation_id = "list_os_images",
    params(OsImageQuery, PageQuery),
    responses((status = 200, body = ListAnswer<OsImageAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadProfiles>,
    query: Query<OsImageQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let filter = CatalogFilter {
        customer_id: query.0.customer_id.map(CustomerId::from_uuid),
        q: query.0.q,
        os_type: query.0.os_type.map(Into::into),
        is_template: None,
    };
    let images = &state.deployment.os_images.catalog;
    let page = images.list(&permit, &filter, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, OsImageAnswer::from)))
}

/// Keep an image.
#[utoipa::path(
    post, path = "/os-images", tag = "deployment", operation_id = "create_os_image",
    request_body = OsImageRequest,
    responses(
        (status = 201, body = OsImageAnswer, headers(("ETag"))),
        (status = 404, description = "no such customer"),
        (status = 409, description = "the name is taken"), (status = 422),
    ),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageProfiles>,
    body: Json<OsImageRequest>,
) -> Result<impl Responder, Problem> {
    let body = body.value().await?;
    let customer = body.customer_id.map(CustomerId::from_uuid);
    let (checksum, url) = (body.checksum, body.url);
    let (os_type, os_version) = (body.os_type.into(), body.os_version);
    let says = OsImageBody { os_type, os_version, checksum, url }.check()?;
    let images = &state.deployment.os_images.catalog;
    let image = images.create(&permit, customer, body.name, body.description, says).await?;
    let location = format!("/api/v1/os-images/{}", image.id);
    let mut answer = HttpResponse::Created();
    answer.insert_header((LOCATION, location)).insert_header(etag(image.version));
    Ok(answer.json(OsImageAnswer::from(image)))
}

fn respond(image: OsImage) -> HttpResponse {
    HttpResponse::Ok().insert_header(etag(image.version)).json(OsImageAnswer::from(image))
}

/// One image.
#[utoipa::path(
    get, path = "/os-images/{id}", tag = "deployment", operation_id = "read_os_image",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = OsImageAnswer, headers(("ETag"))), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadProfiles>,
    id: Id<OsImageId>,
) -> Result<impl Responder, Problem> {
    Ok(respond(state.deployment.os_images.catalog.get(&permit, id.get()?).await?))
}

/// Change an image, which makes a version.
#[utoipa::path(
    put, path = "/os-images/{id}", tag = "deployment", operation_id = "update_os_image",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    request_body = OsImageUpdate,
    responses(
        (status = 200, body = OsImageAnswer, headers(("ETag"))), (status = 404),
        (status = 409, description = "the name is taken"),
        (status = 412, description = "it is not the version any more that `If-Match` names, or \
            somebody changed it at the same time"),
        (status = 422),
    ),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::ManageProfiles>,
    id: Id<OsImageId>,
    expected: IfMatch,
    body: Json<OsImageUpdate>,
) -> Result<impl Responder, Problem> {
    let (images, id) = (&state.deployment.os_images.catalog, id.get()?);
    let body = body.value().await?;
    let before = images.get(&permit.also()?, id).await?;
    check_owner(body.customer_id, before.customer_id)?;
    let change = body.change(before.body)?;
    // What is left out was read just now: it stays only if nobody changed it since.
    let expected = expected.0.or(Some(before.version));
    Ok(respond(images.change(&permit, id, expected, &change).await?))
}

/// Delete an image. It is known no more which machines were made from it.
#[utoipa::path(
    delete, path = "/os-images/{id}", tag = "deployment", operation_id = "delete_os_image",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 404), (status = 412)),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::ManageProfiles>,
    id: Id<OsImageId>,
    expected: IfMatch,
) -> Result<impl Responder, Problem> {
    state.deployment.os_images.catalog.delete(&permit, id.get()?, expected.0).await?;
    Ok(HttpResponse::NoContent())
}

/// The machines that were made from an image, in the order of their ids.
#[utoipa::path(
    get, path = "/os-images/{id}/devices", tag = "deployment",
    operation_id = "list_os_image_devices", params(("id" = Uuid, Path), PageQuery),
    responses((status = 200, body = ListAnswer<ImagedAnswer>), (status = 404)),
)]
pub(crate) async fn devices(
    state: web::Data<AppState>,
    permit: May<act::ReadAgents>,
    id: Id<OsImageId>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let (images, page) = (&state.deployment.os_images, page.0.try_into()?);
    let page = images.made_from(&permit, id.get()?, &page).await?;
    Ok(web::Json(ListAnswer::of(page, ImagedAnswer::from)))
}

/// What a machine was made from.
#[utoipa::path(
    get, path = "/agents/{id}/os-image", tag = "deployment", operation_id = "read_agent_os_image",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = ImagedAnswer),
        (status = 404, description = "no such machine, or nobody said what it was made from"),
    ),
)]
pub(crate) async fn of_agent(
    state: web::Data<AppState>,
    permit: May<act::ReadAgents>,
    id: Id<AgentId>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(ImagedAnswer::from(state.deployment.os_images.of(&permit, id.get()?).await?)))
}

/// Say what a machine was made from.
#[utoipa::path(
    put, path = "/agents/{id}/os-image", tag = "deployment", operation_id = "set_agent_os_image",
    params(("id" = Uuid, Path)), request_body = ImagedRequest,
    responses(
        (status = 200, body = ImagedAnswer),
        (status = 404, description = "no such machine or image"),
    ),
)]
pub(crate) async fn assign(
    state: web::Data<AppState>,
    permit: May<act::ManageAgents>,
    id: Id<AgentId>,
    body: Json<ImagedRequest>,
) -> Result<impl Responder, Problem> {
    let ImagedRequest { os_image_id, imaged_at } = body.value().await?;
    let (agent, image) = (id.get()?, OsImageId::from_uuid(os_image_id));
    let known = state.deployment.os_images.assign(&permit, agent, image, imaged_at).await?;
    Ok(web::Json(ImagedAnswer::from(known)))
}

/// Say that it is not known what a machine was made from.
#[utoipa::path(
    delete, path = "/agents/{id}/os-image", tag = "deployment",
    operation_id = "delete_agent_os_image",
    params(("id" = Uuid, Path)), responses((status = 204), (status = 404)),
)]
pub(crate) async fn forget(
    state: web::Data<AppState>,
    permit: May<act::ManageAgents>,
    id: Id<AgentId>,
) -> Result<impl Responder, Problem> {
    state.deployment.os_images.forget(&permit, id.get()?).await?;
    Ok(HttpResponse::NoContent())
}
