//! The attribute of the crate `sel4-microkit`.

use proc_macro::{TokenStream, TokenTree};

/// Declares the function that makes the protection domain's `Handler`; see `sel4_microkit::protection_domain`.
#[proc_macro_attribute]
pub fn protection_domain(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if !arguments.is_empty() {
        return refuse(
            "takes no arguments: the stack's size stands in the system description, and there is no heap",
        );
    }
    let Some(name) = function_name(item.clone()) else {
        return refuse("belongs on a function");
    };
    let declaration = format!("::sel4_microkit::declare_protection_domain!(init = {name});");
    let Ok(mut output) = declaration.parse::<TokenStream>() else {
        return refuse("needs a plain function name");
    };
    output.extend(item);
    output
}

/// The identifier after `fn`.
fn function_name(item: TokenStream) -> Option<String> {
    let mut tokens = item.into_iter();
    tokens.find(|token| matches!(token, TokenTree::Ident(word) if word.to_string() == "fn"))?;
    match tokens.next()? {
        TokenTree::Ident(name) => Some(name.to_string()),
        _ => None,
    }
}

fn refuse(reason: &str) -> TokenStream {
    format!("::core::compile_error!(\"#[protection_domain] {reason}\");").parse().unwrap_or_default()
}
