//! What a request cannot be made of, found before there is one.

use std::collections::BTreeMap;

/// What a header's name may have beside letters and digits (RFC 9110, section 5.6.2).
const NAME_MARKS: &[u8] = b"!#$%&'*+-.^_`|~";

/// What is wrong with an endpoint's address or the headers for it, if something is.
pub(crate) fn check(url: &str, headers: &BTreeMap<String, String>) -> Result<(), String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let rest = rest.ok_or_else(|| format!("`url` is {url:?}; it has to begin with http:// or https://"))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "`url` is {url:?}; it has to name a host, without a user, and nothing but ASCII"
        ));
    }
    for (name, value) in headers {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || NAME_MARKS.contains(&b)) {
            return Err(format!("`headers` has the name {name:?}, which no header can have"));
        }
        if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err(format!("`headers` has a value for {name:?} that no header can have"));
        }
    }
    Ok(())
}
