//! The contract of [`SecondFactorApi`].

use super::GateSetting;
use crate::api::gate::{ConfirmTotp, SecondFactor, SecondFactorApi};
use crate::error::ErrorCode;

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that
/// fails. Leaves the account without a second factor, as it was.
pub async fn all<A: SecondFactorApi + ?Sized>(api: &A, setting: &GateSetting<'_>) {
    eprintln!("contract: second factor: a_second_factor_is_set_used_and_removed");
    a_second_factor_is_set_used_and_removed(api, setting).await;
}

/// Its whole life, and what is refused on the way. Panics if it goes otherwise.
pub async fn a_second_factor_is_set_used_and_removed<A: SecondFactorApi + ?Sized>(api: &A, setting: &GateSetting<'_>) {
    let status = api.second_factor().await.expect("its status can be asked for");
    assert!(!status.totp, "the account has a second factor already");
    let code = |error: crate::error::ApiError| error.code;
    let nothing = api.confirm_totp(ConfirmTotp::new("123456")).await.map_err(code);
    assert_eq!(nothing, Err(ErrorCode::Conflict));
    let nothing = api.remove_totp(SecondFactor::Totp("123456".into())).await.map_err(code);
    assert_eq!(nothing, Err(ErrorCode::Conflict));

    let first = api.set_up_totp().await.expect("a secret is made");
    let setup = api
        .set_up_totp()
        .await
        .expect("and made anew while it is not confirmed");
    assert_ne!(first, setup);
    assert!(setup.uri.starts_with("otpauth://totp/"), "{}", setup.uri);
    assert!(setup.uri.contains(&format!("secret={}", setup.secret)), "{}", setup.uri);
    assert!(!api.second_factor().await.expect("a status").totp);
    for wrong in ["", "12345", "abcdef"] {
        let refused = api.confirm_totp(ConfirmTotp::new(wrong)).await.map_err(code);
        assert_eq!(refused, Err(ErrorCode::InvalidCredentials), "{wrong}");
    }
    let now = (setting.totp)(&setup.secret, 0);
    let codes = api.confirm_totp(ConfirmTotp::new(now.clone())).await;
    let codes = codes.expect("the code of the app confirms it").recovery_codes;
    let status = api.second_factor().await.expect("a status");
    assert_eq!((status.totp, status.recovery_codes as usize), (true, codes.len()));
    assert!(status.confirmed_at.is_some());
    let set = api.set_up_totp().await.map_err(code);
    assert_eq!(set, Err(ErrorCode::Conflict));

    // The code that confirmed it is used; a recovery code counts once.
    let used = api.remove_totp(SecondFactor::Totp(now)).await.map_err(code);
    assert_eq!(used, Err(ErrorCode::InvalidCredentials));
    let proof = SecondFactor::RecoveryCode(codes[0].clone());
    let renewed = api.renew_recovery_codes(proof.clone()).await;
    let renewed = renewed.expect("a recovery code renews them").recovery_codes;
    assert!(renewed.iter().all(|code| !codes.contains(code)));
    let used = api.renew_recovery_codes(proof).await.map_err(code);
    assert_eq!(used, Err(ErrorCode::InvalidCredentials));

    let next = SecondFactor::Totp((setting.totp)(&setup.secret, 1));
    let removed = api.remove_totp(next).await.expect("a code of the app removes it");
    assert!(!removed.totp);
    let status = api.second_factor().await.expect("a status");
    assert_eq!((status.totp, status.recovery_codes), (false, 0));
}
