//! Files that are components, but none that this host takes.

use super::component::Guest;
use super::{counting, limit, load};

#[tokio::test]
async fn what_the_host_does_not_offer_is_refused_by_its_name() {
    for import in
        ["millstream:plugin/elsewhere@0.1.0", "someone:else/accumulators@1.2.3", "wasi:nn/graph@0.1.0"]
    {
        let guest = Guest { import: import.into(), ..counting() };
        let refused = load(&guest.component(), limit()).await.err().expect(import).to_string();
        assert!(
            refused.contains("needs what this host does not offer") && refused.contains(import),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn what_the_host_offers_in_another_shape_is_refused() {
    // The interface is there, but has no function `add`.
    let guest = Guest { import: "millstream:plugin/host@0.1.0".into(), ..counting() };
    let refused = load(&guest.component(), limit()).await.err().expect("refused").to_string();
    assert!(refused.contains("needs what this host does not offer"), "{refused}");
}

#[tokio::test]
async fn a_component_cut_short_anywhere_is_refused() {
    let whole = counting().component();
    assert!(load(&whole, limit()).await.is_ok());
    for end in (0..whole.len()).step_by(37) {
        let refused = load(&whole[..end], limit()).await.err().unwrap_or_else(|| panic!("cut at {end}"));
        assert!(refused.to_string().contains("handmade.wasm"), "cut at {end}: {refused}");
    }
}
