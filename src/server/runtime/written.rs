//! The output of a connection while its peer takes it bit by bit: a buffer, and how much of its front was written.
//!
//! Not the writing itself. What a buffer may hold before its loop stops filling it is the loop's own mark, counted from
//! what was written: a peer that never takes everything must not make the buffer grow.

/// Buffers up to this many bytes are kept while idle.
const KEPT_BYTES: usize = 512;
/// So much that was written may stay in front of what was not: then the rest moves, which is then seldom.
const WRITTEN_BYTES_MAX: usize = 64 * 1024;

/// Lets go of what was written of `out`, when that is everything or much. Returns how many bytes went from its front.
pub fn let_go(out: &mut Vec<u8>, written: &mut usize) -> usize {
    let gone = (*written).min(out.len());
    if gone == out.len() {
        if out.capacity() > KEPT_BYTES {
            *out = Vec::new();
        } else {
            out.clear();
        }
    } else if gone >= WRITTEN_BYTES_MAX {
        out.drain(..gone);
    } else {
        return 0;
    }
    *written = 0;
    gone
}

#[cfg(test)]
mod tests {
    use super::{KEPT_BYTES, WRITTEN_BYTES_MAX, let_go};

    #[test]
    fn a_buffer_that_is_never_empty_does_not_grow() {
        let (mut out, mut written, mut gone) = (Vec::new(), 0, 0);
        for round in 0..1_000_usize {
            out.extend((0..5_000).map(|at| ((round * 5_000 + at) % 251) as u8));
            written += if round == 0 { 4_000 } else { 5_000 };
            gone += let_go(&mut out, &mut written);
            assert_eq!(out.get(written), Some(&(((gone + written) % 251) as u8)), "nothing is lost");
            assert!(out.len() < WRITTEN_BYTES_MAX + 6_000, "{}", out.len());
        }
        written = out.len();
        let left = written;
        assert_eq!(let_go(&mut out, &mut written), left);
        assert_eq!((written, out.capacity()), (0, 0));
    }

    #[test]
    fn a_small_buffer_is_kept() {
        let (mut out, mut written) = (Vec::with_capacity(KEPT_BYTES), 3);
        out.extend_from_slice(b"abc");
        assert_eq!(let_go(&mut out, &mut written), 3);
        assert_eq!((out.len(), out.capacity(), written), (0, KEPT_BYTES, 0));
    }
}
