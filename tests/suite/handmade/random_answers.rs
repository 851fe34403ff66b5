//! Answers with anything in them, over the real boundary: what is believed of them is whole.

use millstream_model::FunctionError;
use millstream_platform::{Randomness, Seeded};

use super::answers::{Right, right, schema};
use super::{Deed, call, check_valid, guest, limit, load};

/// Makes something else of some words of the answer.
fn spoil(right: &mut Right, random: &Seeded) {
    let whole = right.draft.clone().bytes(Deed::Nothing);
    for _ in 0..1 + random.below(3) {
        let place = super::ANSWER_AT + 8 + 4 * random.below(whole.len() as u64 / 4 - 2) as u32;
        let before = u32::from_le_bytes(right.draft.image.word(place).try_into().unwrap());
        let word = match random.below(6) {
            0 => 0,
            1 => u32::MAX,
            2 => before.wrapping_add(1),
            3 => before.wrapping_sub(4),
            4 => random.below(9) as u32,
            _ => random.next_u64() as u32,
        };
        right.draft.image.poke(place, word);
    }
}

#[tokio::test]
async fn an_answer_that_is_spoilt_anywhere_is_refused_or_whole() {
    let plugin = load(&guest(&schema()).component(), limit()).await.unwrap();
    let (mut believed, mut broken) = (0, 0);
    let seeds = Seeded::seeds(0..1_500);
    let replayed = seeds.end - seeds.start == 1;
    for seed in seeds {
        println!("MILLSTREAM_SEED={seed}");
        let mut right = right();
        spoil(&mut right, &Seeded::new(seed));
        match call(&plugin, &right.draft.bytes(Deed::Nothing)).await {
            Ok(rows) => {
                check_valid(&rows);
                believed += 1;
            }
            Err(FunctionError::Broken { .. }) => broken += 1,
            Err(FunctionError::Rejected { reason, .. } | FunctionError::Unavailable { reason, .. }) => {
                assert!(reason.len() < 8_192, "{} bytes of refusal", reason.len());
            }
        }
    }
    assert!(replayed || (believed > 100 && broken > 100), "{believed} believed, {broken} broken");
    let rows = call(&plugin, &self::right().draft.bytes(Deed::Nothing)).await.unwrap();
    assert_eq!(rows.num_rows(), 3, "it is well afterwards");
}
