//! Profiles, software and rollouts that operations are about.

use serde_json::{Value, json};

use super::{Row, World, id};

impl World {
    /// The path about something new of Acme's that belongs to profiles; `None` for other paths.
    pub(crate) async fn about_deployment(&self, row: &Row, unique: &str) -> Option<String> {
        let path = row.path.as_str();
        if path == "/profiles/import" {
            return Some(format!("{path}?customer_id={}", self.acme));
        }
        let made = if path == "/agents/{id}/os-image" {
            let agent = self.new_agent(unique).await;
            let image = self.os_image(unique).await;
            let wish = json!({ "os_image_id": image });
            self.admin.put(&format!("/agents/{agent}/os-image"), &wish).await;
            agent
        } else if path.starts_with("/profiles/{id}") {
            let profile = self.profile(unique, &json!({})).await;
            if !path.ends_with("/order") {
                let task = self.task(&profile).await;
                return Some(path.replace("{id}", &profile).replace("{task_id}", &task));
            }
            profile
        } else if path.starts_with("/templates/{id}") {
            self.profile(unique, &json!({ "is_template": true })).await
        } else if path.starts_with("/rollouts/{id}") {
            let rollout = self.rollout(unique).await;
            return Some(path.replace("{id}", &rollout).replace("{agent_id}", &self.agent));
        } else if path.starts_with("/software/{id}") {
            id(&self.admin.post("/software", &self.software(unique)).await)
        } else if path.starts_with("/os-images/{id}") {
            self.os_image(unique).await
        } else if path.starts_with("/compliance-checks/{id}") {
            let check = self.check(unique).await;
            id(&self.admin.post("/compliance-checks", &check).await)
        } else {
            return None;
        };
        Some(path.replace("{id}", &made))
    }

    /// A body that is good; `None` for what does not belong to profiles.
    pub(crate) async fn body_of_deployment(&self, row: &Row, unique: &str) -> Option<Value> {
        let new = format!("new {unique}");
        let customer = &self.acme;
        Some(match (row.method.as_str(), row.path.as_str()) {
            ("POST", "/profiles") => json!({ "name": new, "customer_id": customer }),
            ("POST", "/profiles/import") => json!({ "muster": 1, "profile": { "name": new } }),
            ("POST" | "PUT", "/profiles/{id}/tasks" | "/profiles/{id}/tasks/{task_id}") => task(),
            ("PUT", "/profiles/{id}/tasks/order") => json!({ "task_ids": [] }),
            ("POST", "/profiles/{id}/apply") => json!({ "device_ids": [self.agent] }),
            ("POST", "/templates/{id}/instantiate") => json!({ "name": new }),
            ("POST", "/software") => self.software(&new),
            ("POST", "/os-images") => self.image(&new),
            ("PUT", "/profiles/{id}" | "/software/{id}" | "/os-images/{id}") => {
                json!({ "description": unique })
            }
            ("PUT", "/agents/{id}/os-image") => json!({ "os_image_id": self.os_image(&new).await }),
            ("POST", "/compliance-checks") => self.check(&new).await,
            ("PUT", "/compliance-checks/{id}") => json!({ "enabled": false }),
            _ => return None,
        })
    }

    async fn profile(&self, name: &str, more: &Value) -> String {
        let mut wish = json!({ "name": name, "customer_id": self.acme });
        wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        id(&self.admin.post("/profiles", &wish).await)
    }

    async fn task(&self, profile: &str) -> String {
        id(&self.admin.post(&format!("/profiles/{profile}/tasks"), &task()).await)
    }

    /// A profile on its way to the agent, which is not connected: it goes on.
    async fn rollout(&self, name: &str) -> String {
        let profile = self.profile(name, &json!({})).await;
        self.task(&profile).await;
        let wish = json!({ "device_ids": [self.agent] });
        id(&self.admin.post(&format!("/profiles/{profile}/apply"), &wish).await)
    }

    fn software(&self, name: &str) -> Value {
        let variant = json!({ "os_type": "linux", "installer": "apt", "package": "git" });
        json!({ "name": name, "customer_id": self.acme, "variants": [variant] })
    }

    fn image(&self, name: &str) -> Value {
        let customer = &self.acme;
        json!({ "name": name, "customer_id": customer, "os_type": "linux", "os_version": "13" })
    }

    async fn os_image(&self, name: &str) -> String {
        id(&self.admin.post("/os-images", &self.image(name)).await)
    }

    /// A check that comes due next year at the earliest.
    async fn check(&self, name: &str) -> Value {
        let profile = self.profile(name, &json!({})).await;
        self.task(&profile).await;
        let (customer, cron) = (&self.acme, "0 0 1 1 *");
        json!({
            "name": name, "customer_id": customer, "profile_id": profile, "cron": cron,
            "device_ids": [self.agent],
        })
    }
}

fn task() -> Value {
    json!({ "name": "t", "action_type": "command", "payload": "echo" })
}
