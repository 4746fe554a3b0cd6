//! Printing through the kernel, in the configuration that has it.

use core::fmt;

use crate::arch;

struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(arch::debug_put_char);
        Ok(())
    }
}

/// Prints `text`; what [`debug_print!`](crate::debug_print) expands to.
pub fn print(text: fmt::Arguments<'_>) {
    // Only a `Display` of the caller's can fail; the rest of the line is then missing.
    let _ = fmt::write(&mut Console, text);
}

/// Prints like `std::print!`; nothing in the configurations `release` and `benchmark`.
#[macro_export]
macro_rules! debug_print {
    ($($arg:tt)*) => {
        if $crate::_private::PRINTING {
            $crate::_private::print(::core::format_args!($($arg)*));
        }
    };
}

/// Prints like `std::println!`; nothing in the configurations `release` and `benchmark`.
#[macro_export]
macro_rules! debug_println {
    () => { $crate::debug_print!("\n") };
    ($($arg:tt)*) => { $crate::debug_print!("{}\n", ::core::format_args!($($arg)*)) };
}

#[cfg(test)]
mod tests {
    use crate::{arch::script::printed, sdk};

    #[test]
    fn prints_where_the_kernel_does() {
        debug_print!("{} ", 1);
        debug_println!("two {}", "three");
        debug_println!();
        assert_eq!(printed(), if sdk::PRINTING { "1 two three\n\n" } else { "" });
    }
}
