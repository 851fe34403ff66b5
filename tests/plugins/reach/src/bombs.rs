//! More of everything than anybody needs, by the interfaces of WASI themselves.

use std::fmt::Debug;

use wasip2::clocks::monotonic_clock;
use wasip2::filesystem::preopens;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, OutgoingRequest, Scheme};
use wasip2::random::random;
use wasip2::sockets::network::IpAddressFamily;
use wasip2::sockets::tcp_create_socket;

/// Makes so many headers of so many bytes each, and holds them.
pub(crate) fn headers(count: usize, bytes: usize) -> Result<usize, String> {
    let fields = Fields::new();
    for number in 0..count {
        fields.append(&format!("x-{number}"), &vec![b'x'; bytes]).map_err(said)?;
    }
    Ok(count)
}

/// Holds so many handles at once.
pub(crate) fn handles(count: usize) -> Result<usize, String> {
    let held: Vec<_> = (0..count).map(|_| monotonic_clock::subscribe_duration(1)).collect();
    Ok(held.len())
}

/// Holds so many sockets at once.
pub(crate) fn sockets(count: usize) -> Result<usize, String> {
    let sockets =
        (0..count).map(|_| tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4).map_err(said));
    Ok(sockets.collect::<Result<Vec<_>, _>>()?.len())
}

/// Asks for so many random bytes at once.
pub(crate) fn random(bytes: u64) -> Result<usize, String> {
    Ok(random::get_random_bytes(bytes).len())
}

/// Sends so many requests at once, and gives how many were not refused for it.
pub(crate) fn http_many(authority: &str, count: usize) -> Result<usize, String> {
    let send = |_| {
        let request = OutgoingRequest::new(Fields::new());
        let set = request.set_scheme(Some(&Scheme::Http)).and(request.set_authority(Some(authority)));
        set.and(request.set_path_with_query(Some("/"))).map_err(said)?;
        outgoing_handler::handle(request, None).map_err(said)
    };
    let pending = (0..count).map(send).collect::<Result<Vec<_>, _>>()?;
    let answered = pending.iter().filter(|pending| {
        pending.subscribe().block();
        matches!(pending.get(), Some(Ok(Ok(_))))
    });
    Ok(answered.count())
}

/// Makes a symbolic link at an absolute path within a folder that is granted.
pub(crate) fn symlink(target: &str, link: &str) -> Result<(), String> {
    let folders = preopens::get_directories();
    let found = folders.iter().find_map(|(folder, path)| Some((folder, link.strip_prefix(path.as_str())?)));
    let (folder, name) = found.ok_or("no folder is granted there")?;
    folder.symlink_at(target, name.trim_start_matches('/')).map_err(said)
}

fn said(error: impl Debug) -> String {
    format!("{error:?}")
}
