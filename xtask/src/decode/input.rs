//! Words as people have them: typed, or copied from a dump of memory.

use anyhow::{Context, Result, bail, ensure};

/// How the words of the input make those of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// As the kind has them.
    Own,
    /// Words of 32 bits, the lower half of each word of 64 bits first, as little-endian memory has them.
    Halves,
}

/// The entries of `kind`, each of `count` words of `word_bits` bits, in `text`: hexadecimal words with or without `0x`, with underscores or commas; of a dump of memory,
/// what ends in a colon is an address and not a word; what follows a `#` is left out.
///
/// # Errors
/// A word that is not hexadecimal or is too wide, with its number; not as many words as whole entries have.
pub fn entries(
    kind: &str,
    word_bits: usize,
    count: usize,
    text: &str,
    width: Width,
) -> Result<Vec<Vec<u64>>> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let tokens = lines.flat_map(|line| line.split(|letter: char| letter.is_whitespace() || letter == ','));
    let tokens = tokens.filter(|token| !token.is_empty() && !token.ends_with(':'));
    let halves = width == Width::Halves && word_bits == 64;
    let bits = if halves { 32 } else { word_bits };
    let words = tokens
        .enumerate()
        .map(|(index, token)| word(token, bits).with_context(|| format!("word {}", index + 1)));
    let mut words = words.collect::<Result<Vec<_>>>()?;
    let needed = if halves { 2 * count } else { count };
    check_number(kind, &words, needed, bits)?;
    if halves {
        words = words.chunks_exact(2).map(|pair| pair[0] | pair[1] << 32).collect();
    }
    Ok(words.chunks_exact(count).map(<[u64]>::to_vec).collect())
}

fn check_number(kind: &str, words: &[u64], needed: usize, bits: usize) -> Result<()> {
    if !words.is_empty() && words.len().is_multiple_of(needed) {
        return Ok(());
    }
    let given = match words.len() {
        0 => "none was given".to_string(),
        1 => "1 was given".to_string(),
        given => format!("{given} were given"),
    };
    let shape = format!("{needed} word{} of {bits} bits", if needed == 1 { "" } else { "s" });
    bail!("{kind} has {shape}, and several entries may follow one another; {given}")
}

fn word(token: &str, bits: usize) -> Result<u64> {
    let digits =
        token.strip_prefix("0x").or_else(|| token.strip_prefix("0X")).unwrap_or(token).replace('_', "");
    ensure!(
        !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit()),
        "'{token}' is not a hexadecimal number"
    );
    let digits = digits.trim_start_matches('0');
    ensure!(digits.len() <= bits / 4, "'{token}' has more than {bits} bits");
    if digits.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(digits, 16).with_context(|| format!("'{token}' is not a hexadecimal number"))
}
