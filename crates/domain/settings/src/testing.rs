//! Settings in memory, and the contracts that their repositories keep.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use async_trait::async_trait;
use muster_kernel::testing::FakeClock;
use muster_kernel::{Author, Clock, DataKeyId, Deed, Place, Sealed, StorageError};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::{
    DataKeyRepository, Key, SealedRows, SettingChange, SettingRepository, SettingRow, Stored,
    WrappedKey,
};

fn change(key: Key, value: Option<Stored>) -> SettingChange {
    let place = Place { kind: "setting", id: Uuid::nil(), customer_id: None };
    SettingChange { key, value, deed: Deed::done("setting.update", place, None) }
}

/// Data keys in memory.
#[derive(Debug, Default)]
pub struct FakeDataKeys(Mutex<Vec<WrappedKey>>);

#[async_trait]
impl DataKeyRepository for FakeDataKeys {
    async fn data_keys(&self) -> Result<Vec<WrappedKey>, StorageError> {
        Ok(self.0.lock().clone())
    }

    async fn add_data_key(
        &self,
        key: WrappedKey,
        only_first: bool,
        _: &Author,
    ) -> Result<(), StorageError> {
        let mut keys = self.0.lock();
        if !only_first || keys.is_empty() {
            keys.push(key);
        }
        Ok(())
    }
}

/// The contracts of [`SettingRepository`], [`DataKeyRepository`] and [`SealedRows`], on an empty
/// one.
///
/// # Panics
/// When the repository breaks them.
pub async fn contract<R: SettingRepository + DataKeyRepository + SealedRows>(repository: &R) {
    let (now, author) = (FakeClock::default().now(), Author::system());
    assert_eq!(repository.all().await.unwrap(), []);
    let (plain, secret) = (Key::DefaultPlan, Key::OidcClientSecret);
    let sealed = |byte: u8| Sealed(vec![byte; 40]);
    let set = vec![
        change(plain, Some(Stored::Plain("free".into()))),
        change(secret, Some(Stored::Sealed(sealed(1)))),
    ];
    repository.change(set, &author, now).await.unwrap();
    let rows = repository.all().await.unwrap();
    let row = |key, value| SettingRow { key, value, updated_at: now };
    assert_eq!(rows.len(), 2);
    assert!(rows.contains(&row(plain, Stored::Plain("free".into()))));
    assert!(rows.contains(&row(secret, Stored::Sealed(sealed(1)))));

    assert_eq!(repository.sealed().await.unwrap(), [(secret.place(), sealed(1))]);
    assert!(!repository.reseal(&secret.place(), &sealed(9), &sealed(2)).await.unwrap());
    assert!(repository.reseal(&secret.place(), &sealed(1), &sealed(2)).await.unwrap());
    assert_eq!(repository.sealed().await.unwrap(), [(secret.place(), sealed(2))]);

    let other = vec![change(plain, Some(Stored::Plain("pro".into()))), change(secret, None)];
    repository.change(other, &author, now).await.unwrap();
    assert_eq!(repository.all().await.unwrap(), [row(plain, Stored::Plain("pro".into()))]);

    let key = |n: u8| WrappedKey {
        id: DataKeyId::from_uuid(Uuid::from_u128(u128::from(n))),
        wrapped: sealed(n),
        created_at: now + chrono_millis(n),
    };
    repository.add_data_key(key(1), true, &author).await.unwrap();
    repository.add_data_key(key(2), true, &author).await.unwrap();
    assert_eq!(repository.data_keys().await.unwrap(), [key(1)], "there was a first one");
    repository.add_data_key(key(3), false, &author).await.unwrap();
    assert_eq!(repository.data_keys().await.unwrap(), [key(1), key(3)]);
}

fn chrono_millis(n: u8) -> std::time::Duration {
    std::time::Duration::from_millis(u64::from(n))
}
