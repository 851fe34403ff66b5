//! The order in which streams can be defined, and the circles that rule one out.

/// Streams by their numbers.
pub(super) struct Order {
    /// Each after all that it reads; without the streams that are in a circle or behind one.
    pub(super) ordered: Vec<usize>,
    /// Circles, each from its lowest number on in the direction in which rows would flow. Streams that lie in several
    /// circles are named in one of them.
    pub(super) circles: Vec<Vec<usize>>,
}

/// Orders streams of which number `i` reads the streams `reads[i]`, as Kahn's algorithm does:
/// lower numbers first where there is a choice. It does not recurse, however long a chain of streams is.
pub(super) fn order(reads: &[Vec<usize>]) -> Order {
    let mut waits_for: Vec<usize> = reads.iter().map(Vec::len).collect();
    let mut readers = vec![Vec::new(); reads.len()];
    for (reader, read) in reads.iter().enumerate() {
        read.iter().for_each(|&read| readers[read].push(reader));
    }
    let mut ordered: Vec<usize> = (0..reads.len()).filter(|&stream| waits_for[stream] == 0).collect();
    let mut next = 0;
    while let Some(&stream) = ordered.get(next) {
        next += 1;
        for &reader in &readers[stream] {
            waits_for[reader] -= 1;
            if waits_for[reader] == 0 {
                ordered.push(reader);
            }
        }
    }
    Order { ordered, circles: circles(reads, &waits_for) }
}

/// Walks from every stream that still waits to one that it waits for, until a walk meets itself.
fn circles(reads: &[Vec<usize>], waits_for: &[usize]) -> Vec<Vec<usize>> {
    let mut seen = vec![false; reads.len()];
    let mut circles = Vec::new();
    for start in (0..reads.len()).filter(|&stream| waits_for[stream] > 0) {
        let mut walk = Vec::new();
        let mut at = start;
        while !seen[at] {
            seen[at] = true;
            walk.push(at);
            let Some(&read) = reads[at].iter().find(|&&read| waits_for[read] > 0) else {
                break;
            };
            at = read;
        }
        if let Some(closed) = walk.iter().position(|&stream| stream == at) {
            circles.push(from_lowest(&walk[closed..]));
        }
    }
    circles
}

/// The streams of a walk against the flow, with it, from the lowest number on.
fn from_lowest(walk: &[usize]) -> Vec<usize> {
    let mut circle: Vec<usize> = walk.iter().rev().copied().collect();
    let lowest = circle.iter().enumerate().min_by_key(|(_, stream)| **stream).map_or(0, |(place, _)| place);
    circle.rotate_left(lowest);
    circle
}
