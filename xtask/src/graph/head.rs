//! The picture's title, what stands out, and the columns' heads.

use super::{
    layout::{Caption, Layout, MARGIN},
    scene::{Label, Style},
    text,
};

impl Layout<'_> {
    /// The title, what stands out, and the columns' heads; returns where the rows begin.
    pub(super) fn head(&mut self, caption: &Caption) -> i32 {
        let most = self.scene.width - 2 * MARGIN;
        let mut lines = vec![
            (Style::Title, "Who can do DMA where".to_string()),
            (Style::Detail, caption.files.clone()),
            (Style::Detail, self.summary()),
        ];
        lines.extend(self.findings().into_iter().map(|finding| (Style::Warning, finding)));
        lines.extend(
            caption
                .refusal
                .iter()
                .map(|rule| (Style::Warning, format!("The image builder refuses this: {rule}"))),
        );
        let mut y = MARGIN;
        for (style, text) in lines {
            for line in style.wrap(&text, most) {
                self.scene.labels.push(Label::new((MARGIN, y), &line, style, most));
                y += style.height() + 2;
            }
            y += if style == Style::Title { 4 } else { 0 };
        }
        y += 14;
        let outline = self.model.outline.is_some();
        let heads = [
            (self.answering, !self.model.answering.is_empty(), "Servers", "who answers"),
            (self.asking, true, "Clients", "who asks"),
            (self.devices, outline, "Devices", "what does DMA"),
            (self.units, outline, "IOMMU", "what checks it"),
            (self.memory, outline, "Memory", "what is reached"),
        ];
        for (column, _, head, says) in heads.into_iter().filter(|head| head.1) {
            self.scene.labels.push(Label::new((column.x, y), head, Style::Heading, column.w));
            let below = (column.x, y + Style::Heading.height());
            self.scene.labels.push(Label::new(below, says, Style::Detail, column.w));
        }
        y + Style::Heading.height() + Style::Detail.height() + 16
    }

    /// What there is, in a line.
    pub(super) fn summary(&self) -> String {
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let pds = count(self.model.system.pds.len(), "protection domain");
        let hidden = count(self.model.hidden(), "memory region");
        let Some(outline) = self.model.outline else {
            return format!(
                "{pds}; without a policy, no IOMMU is between devices and memory. Not shown: {hidden}."
            );
        };
        format!(
            "{pds}, {}, {}; devices reach {}. Not shown: {hidden} that no device reaches.",
            count(outline.clients.len(), "client"),
            count(outline.devices.len(), "device"),
            count(self.model.reached_by.len(), "memory region"),
        )
    }

    /// What a person should look at.
    pub(super) fn findings(&self) -> Vec<String> {
        let model = self.model;
        let name = |region: usize| text::clean(&model.system.regions[region].name);
        let shared: Vec<String> =
            (0..model.system.regions.len()).filter(|&region| model.is_shared(region)).map(name).collect();
        let devices = model.outline.map_or(&[][..], |outline| &outline.devices);
        let unowned: Vec<String> =
            model.unowned.iter().map(|&device| text::clean(&devices[device].name)).collect();
        let finding = |names: Vec<String>, what: &str| {
            (!names.is_empty()).then(|| format!("{what}: {}.", names.join(", ")))
        };
        let shared = finding(shared, "Devices of several clients reach");
        [shared, finding(unowned, "Given to nobody")].into_iter().flatten().collect()
    }
}
