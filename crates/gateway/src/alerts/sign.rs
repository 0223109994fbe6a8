//! How an alert is signed: HMAC-SHA256 over id, time and body, as Standard Webhooks have it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Returns the value of the header `webhook-signature`; the time is in seconds since 1970.
pub(super) fn signature(key: &[u8], id: &str, seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `openssl dgst -sha256 -hmac`.
    #[test]
    fn it_is_a_plain_hmac_of_id_time_and_body() {
        let key = b"0123456789abcdefghijklmn";
        let found = signature(key, "msg_1", 1_700_000_000, b"{\"a\":1}");
        assert_eq!(found, "v1,4ezmuBq3l8hTsGAKr/4Th11OaqFEh0xQLo+s2Ky0inM=");
        assert_ne!(found, signature(key, "msg_2", 1_700_000_000, b"{\"a\":1}"));
        assert_ne!(found, signature(key, "msg_1", 1_700_000_001, b"{\"a\":1}"));
    }
}
