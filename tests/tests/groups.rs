//! Groups of machines, lists of many, and changes of many at once.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use muster_tests::{Api, Behaviour, Enrolled, Fleet, Server, eventually};
use reqwest::Method;
use serde_json::{Value, json};

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

/// A customer with machines of these names.
async fn machines(server: &Server, api: &Api, customer: &str, names: &[&str]) -> Vec<String> {
    let wish = json!({ "customer_id": customer, "name": "t", "max_uses": null });
    let token = api.post("/enrollment-tokens", &wish).await["token"].as_str().unwrap().to_owned();
    let mut ids = Vec::new();
    for name in names {
        let enrolled = Enrolled::register(&server.url(), &token, name).await;
        ids.push(enrolled.agent_id.to_string());
    }
    ids
}

async fn names(api: &Api, path: &str) -> Vec<String> {
    let page = api.get(path).await;
    let items = page["items"].as_array().unwrap();
    assert_eq!(page["total"], items.len());
    items.iter().map(|agent| agent["hostname"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_group_is_whoever_was_put_into_it_or_whoever_passes_its_filter_now() {
    let server = Server::start().await;
    let api = server.admin().await;
    let (acme, other) = (api.customer("Acme").await, api.customer("Other").await);
    let ids = machines(&server, &api, &acme, &["web-01", "web-02", "db-01"]).await;
    let foreign = machines(&server, &api, &other, &["web-03"]).await;

    let rack = json!({ "name": "Rack 7", "customer_id": acme });
    let rack = id(&api.post("/groups", &rack).await);
    let members = format!("/groups/{rack}/agents");
    let put = json!({ "agent_ids": [ids[0], ids[2]] });
    assert_eq!(api.post(&members, &put).await["total"], 2);
    let bad = json!({ "agent_ids": [foreign[0]] });
    let (status, code) = api.problem(Method::POST, &members, &bad).await;
    assert_eq!((status, code.as_str()), (422, "VALIDATION_FAILED"), "another customer's machine");
    assert_eq!(names(&api, &format!("{members}?sort=hostname")).await, ["db-01", "web-01"]);
    assert_eq!(names(&api, &format!("/agents?group_id={rack}")).await, ["web-01", "db-01"]);
    assert_eq!(api.get(&format!("/agents/{}", ids[0])).await["group_ids"], json!([rack]));

    let web = json!({ "name": "Web", "customer_id": acme, "filter": { "hostname": "web-*" } });
    let web = id(&api.post("/groups", &web).await);
    let of_web = format!("/groups/{web}/agents");
    assert_eq!(names(&api, &of_web).await, ["web-01", "web-02"]);
    let renamed = json!({ "hostname": "web-00", "group_ids": [] });
    assert_eq!(api.put(&format!("/agents/{}", ids[2]), &renamed).await["group_ids"], json!([]));
    assert_eq!(
        names(&api, &format!("{of_web}?sort=-hostname")).await,
        ["web-02", "web-01", "web-00"]
    );
    let (status, code) = api.problem(Method::POST, &of_web, &put).await;
    assert_eq!(
        (status, code.as_str()),
        (409, "WRONG_STATE"),
        "its machines follow from its filter"
    );
    let empty = json!({ "name": "All", "customer_id": acme, "filter": {} });
    assert_eq!(api.problem(Method::POST, "/groups", &empty).await.0, 422);

    let change = |name: &str| json!({ "name": name });
    let asked = api.request(Method::PUT, &format!("/groups/{rack}")).header("If-Match", "\"9\"");
    let answer = asked.json(&change("Rack 8")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 412);
    let taken = api.problem(Method::PUT, &format!("/groups/{rack}"), &change("WEB")).await;
    assert_eq!(taken, (409, "ALREADY_EXISTS".to_owned()));
}

#[tokio::test]
async fn a_run_for_a_group_means_its_members_and_one_for_a_deleted_group_means_nobody() {
    let server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    let fleet = Fleet::start(&server.url(), &token, "m", 3, Behaviour::default()).await;
    let group = id(&api.post("/groups", &json!({ "name": "some" })).await);
    let agents = json!({ "agent_ids": [fleet.ids[0], fleet.ids[1]] });
    api.put(&format!("/groups/{group}/agents"), &agents).await;
    let wish = json!({ "target": { "group_ids": [group] }, "command": "x" });
    let preview = api.post("/runs/preview", &wish).await;
    assert_eq!(preview["total"], 2, "{preview}");
    let run = api.run_ended(&id(&api.post("/runs", &wish).await)).await;
    assert_eq!((&run["status"], &run["total"]), (&json!("completed"), &json!(2)));

    let mut plan = wish.clone();
    let more = json!({ "name": "s", "cron": "0 3 * * *" });
    plan.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let schedule = id(&api.post("/schedules", &plan).await);
    let gone = api.problem(Method::DELETE, &format!("/groups/{group}"), &json!({})).await;
    assert_eq!(gone.0, 204);
    assert_eq!(api.problem(Method::POST, "/runs", &wish).await.0, 404);
    api.post(&format!("/schedules/{schedule}/run"), &json!({})).await;
    let firing = eventually("it comes due", async || {
        let history = api.get(&format!("/schedules/{schedule}/runs")).await;
        history["items"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!(firing["run_id"], Value::Null);
    assert!(firing.to_string().contains("there is no group"), "{firing}");
    assert_eq!(api.get("/runs").await["total"], 1, "it means nobody");
}

#[tokio::test]
async fn a_machine_is_a_member_of_the_groups_of_the_token_that_let_it_in() {
    let server = Server::start().await;
    let api = server.admin().await;
    let acme = api.customer("Acme").await;
    let group = id(&api.post("/groups", &json!({ "name": "new", "customer_id": acme })).await);
    let wish = json!({ "customer_id": acme, "name": "t", "group_ids": [group] });
    let token = api.post("/enrollment-tokens", &wish).await;
    assert_eq!(token["group_ids"], json!([group]));
    let token = token["token"].as_str().unwrap();
    Enrolled::register(&server.url(), token, "web-01").await;
    assert_eq!(names(&api, &format!("/groups/{group}/agents")).await, ["web-01"]);
    let other = api.customer("Other").await;
    let wish = json!({ "customer_id": other, "name": "t", "group_ids": [group] });
    assert_eq!(api.problem(Method::POST, "/enrollment-tokens", &wish).await.0, 422);
}

#[tokio::test]
async fn a_list_is_sorted_as_asked_and_its_cursors_are_good_for_that_order_alone() {
    let server = Server::start().await;
    let api = server.admin().await;
    let acme = api.customer("Acme").await;
    machines(&server, &api, &acme, &["web-02", "WEB-01", "db-01"]).await;
    assert_eq!(names(&api, "/agents?sort=hostname").await, ["db-01", "WEB-01", "web-02"]);
    assert_eq!(names(&api, "/agents?sort=-created_at").await, ["db-01", "WEB-01", "web-02"]);
    let first = api.get("/agents?sort=hostname&limit=2").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = api.get(&format!("/agents?sort=hostname&limit=2&cursor={cursor}")).await;
    assert_eq!((&rest["items"][0]["hostname"], &rest["total"]), (&json!("web-02"), &json!(3)));
    for other in ["/agents?cursor=", "/agents?sort=-hostname&cursor=", "/agents?sort=tags&cursor="]
    {
        let (status, code) =
            api.problem(Method::GET, &format!("{other}{cursor}"), &json!({})).await;
        assert_eq!((status, code.as_str()), (400, "MALFORMED_REQUEST"), "{other}");
    }
    assert_eq!(names(&api, "/agents?q=EB-0&sort=hostname").await, ["WEB-01", "web-02"]);
    assert_eq!(names(&api, "/agents?hostname=web-?1").await, ["WEB-01"]);
}

#[tokio::test]
async fn many_machines_are_changed_at_once_and_deleted_only_by_who_means_it() {
    let server = Server::start().await;
    let api = server.admin().await;
    let acme = api.customer("Acme").await;
    let ids = machines(&server, &api, &acme, &["web-01", "web-02", "db-01"]).await;
    let group = id(&api.post("/groups", &json!({ "name": "row", "customer_id": acme })).await);
    let mut wish = json!({
        "target": { "agent_ids": [ids[0], ids[1]] }, "add_tags": ["web"],
        "add_to_groups": [group], "notes": "row 3", "dry_run": true,
    });
    let dry = api.post("/agents/bulk", &wish).await;
    assert_eq!((&dry["matched"], &dry["changed"]), (&json!(2), &Value::Null));
    assert_eq!(api.get("/agents/tags").await["total"], 0);
    wish["dry_run"] = json!(false);
    assert_eq!(api.post("/agents/bulk", &wish).await["changed"], 2);
    assert_eq!(api.post("/agents/bulk", &wish).await["changed"], 0, "they are so already");
    assert_eq!(api.get("/agents/tags").await["items"], json!([{ "tag": "web", "agents": 2 }]));
    assert_eq!(names(&api, "/agents?tags=web&q=row%203").await, ["web-01", "web-02"]);
    assert_eq!(names(&api, &format!("/agents?group_id={group}")).await.len(), 2);
    let audit = api.get("/audit?action=agent.update").await;
    assert_eq!(audit["total"], 2, "{audit}");

    let mut doomed = json!({ "target": { "tags": ["web"] } });
    let (status, _) = api.problem(Method::POST, "/agents/bulk/delete", &doomed).await;
    assert_eq!(status, 422, "it was not confirmed");
    doomed["confirm"] = json!(true);
    assert_eq!(api.post("/agents/bulk/delete", &doomed).await["changed"], 2);
    assert_eq!(names(&api, "/agents").await, ["db-01"]);
    assert_eq!(api.get("/agents/tags").await["total"], 0);
}
