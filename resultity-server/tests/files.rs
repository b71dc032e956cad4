//! `/v1/files` over HTTP.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use harness::TestServer;
use harness::batches::Api;
use resultity_server::store::KeyLimits;
use rstest::rstest;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

async fn started() -> (TestServer, Api) {
    let server = TestServer::start().await;
    let api = Api::new(&server);
    (server, api)
}

#[tokio::test]
async fn a_file_is_stored_listed_read_and_deleted() {
    let (_server, api) = started().await;
    // More than two chunks, and not whole ones.
    let content: Vec<u8> = (0..600_001_u32).map(|n| (n % 251) as u8).collect();
    let (status, file) = api
        .form(&[
            ("file", Some("../notes \u{fc}.bin"), &content),
            ("purpose", None, b"user_data"),
        ])
        .await;
    assert_eq!(status, 200, "{file}");
    let id = file["id"].as_str().unwrap();
    assert!(id.starts_with("file-"), "{id}");
    assert_eq!(
        (
            &file["object"],
            &file["bytes"],
            &file["filename"],
            &file["purpose"],
            &file["status"],
            &file["expires_at"]
        ),
        (
            &json!("file"),
            &json!(600_001),
            &json!("notes \u{fc}.bin"),
            &json!("user_data"),
            &json!("processed"),
            &Value::Null
        )
    );
    assert_eq!(api.get(&format!("/files/{id}")).await, (200, file.clone()));
    let (status, headers, read) = api.content(id).await;
    assert_eq!((status, read == content), (200, true));
    assert_eq!(headers["content-length"], "600001");
    assert_eq!(headers["content-disposition"], "attachment; filename=\"notes__.bin\"");
    assert_eq!(headers["x-content-type-options"], "nosniff");

    let batch = api.upload("{}\n").await;
    let (_, list) = api.get("/files").await;
    let ids: Vec<&str> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [batch.as_str(), id], "the newest first");
    let (_, list) = api.get("/files?purpose=batch").await;
    assert_eq!(
        (&list["data"].as_array().unwrap().len(), &list["has_more"]),
        (&1, &json!(false))
    );
    let (_, list) = api.get("/files?limit=1&order=asc").await;
    assert_eq!((&list["last_id"], &list["has_more"]), (&json!(id), &json!(true)));
    let (_, list) = api.get(&format!("/files?limit=1&order=asc&after={id}")).await;
    assert_eq!((&list["first_id"], &list["has_more"]), (&json!(batch), &json!(false)));

    let (status, deleted) = api.delete(&format!("/files/{id}")).await;
    assert_eq!(
        (status, deleted),
        (200, json!({"id": id, "object": "file", "deleted": true}))
    );
    for path in [
        format!("/files/{id}"),
        format!("/files/{id}/content"),
        "/files/file-none".to_owned(),
    ] {
        let (status, error) = api.get(&path).await;
        assert_eq!((status, &error["error"]["code"]), (404, &json!("not_found")), "{path}");
    }
    assert_eq!(api.delete(&format!("/files/{id}")).await.0, 404);
}

#[tokio::test]
async fn a_file_goes_by_itself_when_it_should() {
    let (_server, api) = started().await;
    let lasts = |file: &Value| file["expires_at"].as_i64().unwrap() - file["created_at"].as_i64().unwrap();
    let (_, file) = api
        .form(&[("purpose", None, b"batch"), ("file", Some("a"), b"x")])
        .await;
    assert_eq!(lasts(&file), 30 * 24 * 3600, "as OpenAI keeps them");
    let (status, file) = api
        .form(&[
            ("purpose", None, b"user_data"),
            ("expires_after[anchor]", None, b"created_at"),
            ("expires_after[seconds]", None, b"3600"),
            ("file", Some("a"), b"x"),
        ])
        .await;
    assert_eq!((status, lasts(&file)), (200, 3600));
}

const FILE: (&str, &str) = ("file", "x");
const BATCH: (&str, &str) = ("purpose", "batch");
const ANCHOR: (&str, &str) = ("expires_after[anchor]", "created_at");

#[rstest]
#[case(&[FILE], 400, "missing_required_parameter", "purpose")]
#[case(&[BATCH], 400, "missing_required_parameter", "file")]
#[case(&[BATCH, ("file", "")], 400, "invalid_value", "file")]
#[case(&[("purpose", "fine-tune"), FILE], 400, "invalid_value", "purpose")]
#[case(&[("purpose", "nonsense"), FILE], 400, "invalid_value", "purpose")]
#[case(&[("purpose", "batch_output"), FILE], 400, "invalid_value", "purpose")]
#[case(&[BATCH, BATCH, FILE], 400, "invalid_value", "purpose")]
#[case(&[BATCH, FILE, FILE], 400, "invalid_value", "file")]
#[case(&[BATCH, ("folder", "x"), FILE], 400, "unsupported_parameter", "folder")]
#[case(&[BATCH, FILE, ("expires_after[seconds]", "3600")], 400, "missing_required_parameter", "expires_after[anchor]")]
#[case(&[BATCH, FILE, ANCHOR, ("expires_after[seconds]", "5")], 400, "invalid_value", "expires_after.seconds")]
#[case(&[BATCH, FILE, ANCHOR, ("expires_after[seconds]", "soon")], 400, "invalid_value", "expires_after[seconds]")]
#[tokio::test]
async fn what_is_wrong_with_a_form_is_named(
    #[case] parts: &[(&str, &str)],
    #[case] status: u16,
    #[case] code: &str,
    #[case] param: &str,
) {
    let (_server, api) = started().await;
    let parts: Vec<_> = parts
        .iter()
        .map(|(name, content)| (*name, (*name == "file").then_some("a"), content.as_bytes()))
        .collect();
    let (got, error) = api.form(&parts).await;
    assert_eq!(
        (got, &error["error"]["code"], &error["error"]["param"]),
        (status, &json!(code), &json!(param)),
        "{error}"
    );
    let (_, list) = api.get("/files").await;
    assert_eq!(list["data"], json!([]), "nothing is left of it");
}

#[tokio::test]
async fn what_is_no_form_is_refused_before_it_is_read() {
    let (server, api) = started().await;
    let files = format!("{}/v1/files", server.base_url());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let (status, error) = api.send(http.post(&files).json(&json!({"purpose": "batch"}))).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (400, &json!("invalid_value")),
        "{error}"
    );
    let broken = http
        .post(&files)
        .header("content-type", "multipart/form-data; boundary=b")
        .body("--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nno end");
    let (status, error) = api.send(broken).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (400, &json!("invalid_value")),
        "{error}"
    );
    let long = "x".repeat(5_000);
    let (status, error) = api.form(&[("purpose", None, long.as_bytes())]).await;
    assert_eq!((status, &error["error"]["param"]), (413, &json!("purpose")), "{error}");
    let unsigned = http.post(&files).body("x").send().await.unwrap();
    assert_eq!(unsigned.status().as_u16(), 401);
}

#[tokio::test]
async fn a_file_that_is_too_large_leaves_nothing() {
    let (_server, api) = started().await;
    let large = vec![b'x'; 64 * 1024 * 1024 + 1];
    let (status, error) = api
        .form(&[("file", Some("a"), &large), ("purpose", None, b"batch")])
        .await;
    assert_eq!(
        (status, &error["error"]["code"], &error["error"]["param"]),
        (413, &json!("payload_too_large"), &json!("file")),
        "{error}"
    );
    assert_eq!(api.get("/files").await.1["data"], json!([]));
}

#[tokio::test]
async fn nobody_else_sees_a_file() {
    let (server, api) = started().await;
    let id = api.upload("{}\n").await;
    let other = server.another_key("other", KeyLimits::default()).await;
    let other = Api::at(&format!("{}/v1", server.base_url()), other.expose_secret());
    for path in [format!("/files/{id}"), format!("/files/{id}/content")] {
        assert_eq!(other.get(&path).await.0, 404, "{path}");
    }
    assert_eq!(other.delete(&format!("/files/{id}")).await.0, 404);
    assert_eq!(other.get("/files").await.1["data"], json!([]));
    let body = json!({"input_file_id": id, "endpoint": "/v1/embeddings", "completion_window": "24h"});
    let (status, error) = other.post("/batches", body).await;
    assert_eq!((status, &error["error"]["param"]), (404, &json!("input_file_id")));
    assert_eq!(api.get(&format!("/files/{id}")).await.0, 200);
}
