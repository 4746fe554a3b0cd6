//! The pictures of `cargo xtask graph`: nothing lies on anything else, and each grant is there, once.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use quick_xml::escape::escape;
use xtask::{
    bench::clients,
    board::{self, Board},
    builder::Source,
    graph::{
        Picture, draw,
        scene::{Grant, Look, Point, Rect, Scene},
    },
    sdf::{MAX_ID, MAX_PDS},
};

const GOLDEN: &str = "docs/system.svg";

fn picture(
    board: &str,
    system: &str,
    policy: Option<&str>,
    folders: Vec<PathBuf>,
) -> Result<Picture, String> {
    let source = |name: &str, text: &str| Source { name: name.into(), text: text.into() };
    let system = source("system.xml", system);
    let policy = policy.map(|text| source("policy.toml", text));
    let read = Board::read(&xtask::root(), board).unwrap();
    draw(&system, policy.as_ref(), (board, &read), folders).map_err(|refusal| refusal.to_string())
}

/// All system descriptions below `folder`.
fn systems(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            systems(&path, found);
        } else if name.ends_with(".xml") && !path.to_string_lossy().contains("refusals/sdf") {
            found.push(path);
        }
    }
}

/// The grants that `policy` has, read without the code that is tested.
fn grants(policy: &str) -> Vec<Grant> {
    let table: toml::Table = toml::from_str(policy).unwrap();
    let list = |value: Option<&toml::Value>| value.and_then(|of| of.as_array()).cloned().unwrap_or_default();
    let text = |value: &toml::Value, key: &str| value[key].as_str().unwrap().to_string();
    let mut grants = vec![];
    for client in list(table.get("client")) {
        for grant in list(client.get("regions")) {
            let rights = match grant["rights"].as_str().unwrap() {
                "r" => "r",
                "w" => "w",
                _ => "rw",
            };
            grants.push(Grant { client: text(&client, "pd"), region: text(&grant, "region"), rights });
        }
    }
    grants.sort();
    grants
}

/// The grants that `svg` shows.
fn shown(svg: &str) -> Vec<Grant> {
    let document = roxmltree::Document::parse(svg).unwrap();
    let paths = document.descendants().filter(|node| node.has_attribute("data-region"));
    let mut grants: Vec<Grant> = paths
        .map(|path| {
            let get = |name: &str| path.attribute(name).unwrap().to_string();
            // The class decides colour and dashes.
            let class = path.attribute("class").unwrap();
            let rights = ["r", "w", "rw"].into_iter().find(|rights| *rights == class).unwrap();
            assert_eq!(get("data-rights"), rights);
            Grant { client: get("data-client"), region: get("data-region"), rights }
        })
        .collect();
    grants.sort();
    grants
}

/// What a piece of a wire covers.
fn piece(from: Point, to: Point) -> Rect {
    assert!(from.0 == to.0 || from.1 == to.1, "{from:?} to {to:?} is slanted");
    let (x, y) = (from.0.min(to.0), from.1.min(to.1));
    Rect { x, y, w: (from.0 - to.0).abs().max(1), h: (from.1 - to.1).abs().max(1) }
}

/// Asserts that `scene` can be read: boxes, text and wires keep apart.
fn assert_readable(scene: &Scene) {
    let page = Rect { x: 0, y: 0, w: scene.width, h: scene.height };
    let boxes: Vec<_> = scene.shapes.iter().filter(|shape| !shape.look.is_background()).collect();
    let parents: Vec<_> = scene.shapes.iter().filter(|shape| shape.look == Look::Parent).collect();
    for (index, shape) in boxes.iter().enumerate() {
        assert!(page.holds(&shape.rect), "{shape:?} leaves the page");
        for other in &boxes[..index] {
            assert!(!shape.rect.meets(&other.rect), "{shape:?} on {other:?}");
        }
        for parent in &parents {
            let apart = !parent.rect.meets(&shape.rect) || parent.rect.holds(&shape.rect);
            assert!(apart, "{shape:?} half in {parent:?}");
        }
    }
    for shape in &scene.shapes {
        for label in &shape.labels {
            assert!(shape.rect.holds(&label.rect), "{label:?} leaves {shape:?}");
        }
    }
    let labels: Vec<_> = scene
        .shapes
        .iter()
        .flat_map(|shape| &shape.labels)
        .chain(&scene.labels)
        .map(|label| &label.rect)
        .collect();
    for (index, label) in labels.iter().enumerate() {
        assert!(page.holds(label), "{label:?} leaves the page");
        for other in &labels[..index] {
            assert!(!label.meets(other), "text at {label:?} on text at {other:?}");
        }
    }
    let samples = scene.samples.iter().map(|(rect, _)| rect);
    for rect in boxes.iter().map(|shape| &shape.rect).chain(samples) {
        for label in &scene.labels {
            assert!(!label.rect.meets(rect), "{label:?} on the box at {rect:?}");
        }
    }
    for wire in &scene.wires {
        assert!(wire.points.len() >= 2, "{wire:?} goes nowhere");
        for ends in wire.points.windows(2) {
            let piece = piece(ends[0], ends[1]);
            assert!(page.holds(&piece), "{wire:?} leaves the page");
            // The text on a grant's wire has a background.
            let own = |rect: &Rect| wire.grant.is_some() && rect.y <= piece.y && piece.y < rect.bottom();
            for label in labels.iter().filter(|label| !own(label)) {
                assert!(!label.meets(&piece), "{wire:?} through the text at {label:?}");
            }
            for shape in boxes.iter().filter(|shape| !(shape.look == Look::Pill && own(&shape.rect))) {
                let Rect { x, y, w, h } = shape.rect;
                let inside = Rect { x: x + 1, y: y + 1, w: w - 2, h: h - 2 };
                assert!(!inside.meets(&piece), "{wire:?} through {shape:?}");
            }
        }
    }
    assert_apart(scene);
}

/// A wire's first and last pixel along a row or column, and the wire's number.
type Along = (i32, i32, usize);

/// Asserts that no two wires lie on one another for a stretch.
fn assert_apart(scene: &Scene) {
    // Where each piece goes along its row or column.
    let mut rows: HashMap<(bool, i32), Vec<Along>> = HashMap::new();
    for (number, wire) in scene.wires.iter().enumerate() {
        for ends in wire.points.windows(2) {
            let Rect { x, y, w, h } = piece(ends[0], ends[1]);
            let (row, along) =
                if h == 1 { ((true, y), (x, x + w, number)) } else { ((false, x), (y, y + h, number)) };
            rows.entry(row).or_default().push(along);
        }
    }
    for along in rows.values_mut() {
        along.sort_unstable();
        for pair in along.windows(2) {
            // Wires that are joined meet in a point.
            assert!(
                pair[1].0 >= pair[0].1 - 1,
                "{:?} lies on {:?}",
                scene.wires[pair[0].2],
                scene.wires[pair[1].2]
            );
        }
    }
}

#[test]
fn every_system_of_the_tree_is_drawn() {
    let root = xtask::root();
    let mut found = vec![];
    systems(&root, &mut found);
    assert!(found.len() >= 6, "{found:?}");
    let boards = fs::read_dir(root.join("platform/boards")).unwrap();
    let boards: Vec<String> =
        boards.map(|board| board.unwrap().file_name().to_string_lossy().into_owned()).collect();
    for path in found {
        let folder = path.parent().unwrap();
        let policy = fs::read_to_string(folder.join("policy.toml")).ok();
        let system = fs::read_to_string(&path).unwrap();
        let mut good = 0;
        for board in &boards {
            // A file of another architecture cannot be read.
            let Ok(drawn) = picture(board, &system, policy.as_deref(), vec![folder.into()]) else { continue };
            assert_readable(&drawn.scene);
            assert_eq!(shown(&drawn.svg()), policy.as_deref().map_or(vec![], grants), "{}", path.display());
            good += usize::from(drawn.refusal.is_none());
        }
        // Some board has it.
        assert!(good > 0 || path.ends_with("systems/unknown.xml"), "{}", path.display());
    }
}

#[test]
fn a_system_of_32_clients_is_drawn() {
    let read = |name: &str| fs::read_to_string(xtask::root().join("bench").join(name)).unwrap();
    let (system, policy) = clients::multiply(&read("system.xml"), &read("policy.toml"), 32).unwrap();
    let drawn = picture(board::DEFAULT, &system, Some(&policy), vec![]).unwrap();
    assert_readable(&drawn.scene);
    assert_eq!(drawn.refusal, None);
    assert_eq!(shown(&drawn.svg()), grants(&policy));
    // One wide enough for a page of a browser: names need no scrolling to the side.
    assert!(drawn.scene.width <= 1100, "{}", drawn.scene.width);
}

#[test]
fn the_picture_of_the_default_system_is_fresh() {
    let root = xtask::root();
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let drawn = picture(board::DEFAULT, &read("system.xml"), Some(&read("policy.toml")), vec![]).unwrap();
    assert!(
        fs::read_to_string(root.join(GOLDEN)).is_ok_and(|golden| golden == drawn.svg()),
        "{GOLDEN} is not what system.xml and policy.toml give; make it anew: cargo xtask graph --output {GOLDEN}"
    );
}

/// The looks of the boxes of `scene` that say `name`.
fn looks(scene: &Scene, name: &str) -> Vec<Look> {
    let says = |shape: &&xtask::graph::scene::Shape| shape.labels.iter().any(|label| label.text == name);
    scene.shapes.iter().filter(says).map(|shape| shape.look).collect()
}

fn base(change: impl Fn(String, String) -> (String, String)) -> Picture {
    let read = |name: &str| fs::read_to_string(xtask::root().join(name)).unwrap();
    let (system, policy) = change(read("system.xml"), read("policy.toml"));
    let drawn = picture(board::DEFAULT, &system, Some(&policy), vec![]).unwrap();
    assert_readable(&drawn.scene);
    assert_eq!(shown(&drawn.svg()), grants(&policy));
    drawn
}

#[test]
fn what_two_clients_devices_reach_stands_out() {
    let drawn = base(|system, policy| {
        let grant = "{ region = \"edu1_constants\", rights = \"r\" },";
        let more = format!("{grant}\n{{ region = \"edu0_dma\", rights = \"r\" }},");
        let map = "<map mr=\"edu1_notes\" vaddr=\"0x34000000\" perms=\"rw\" setvar_vaddr=\"notes\" />";
        let shared = format!("{map}<map mr=\"edu0_dma\" vaddr=\"0x40000000\" perms=\"rw\" />");
        (system.replacen(map, &shared, 1), policy.replacen(grant, &more, 1))
    });
    assert_eq!(drawn.refusal, None);
    assert_eq!(looks(&drawn.scene, "edu0_dma"), [Look::SharedRegion, Look::SharedReference]);
    assert_eq!(looks(&drawn.scene, "edu1_dma"), [Look::Region]);
    let said =
        drawn.scene.labels.iter().any(|label| label.text == "Devices of several clients reach: edu0_dma.");
    assert!(said, "{:?}", drawn.scene.labels);
}

#[test]
fn a_device_of_nobody_stands_out_and_the_refusal_is_said() {
    let drawn = base(|system, policy| (system, policy.replacen("devices = [\"edu1\"]", "devices = []", 1)));
    assert_eq!(looks(&drawn.scene, "edu1"), [Look::UnownedDevice]);
    assert_eq!(looks(&drawn.scene, "edu0"), [Look::Device]);
    assert_eq!(looks(&drawn.scene, "no device"), [Look::Nobody]);
    let refusal = drawn.refusal.as_ref().unwrap().to_string();
    assert!(refusal.contains("'edu1' has no client"), "{refusal}");
    assert!(drawn.svg().contains("The image builder refuses this: policy.toml:"), "{}", drawn.svg());
}

#[test]
fn a_successor_reaches_what_its_predecessor_does_and_nothing_is_shared() {
    let drawn = base(|system, policy| {
        let map = "<map mr=\"edu1_notes\"";
        let maps = format!(
            "<map mr=\"edu0_dma\" vaddr=\"0x40000000\" /><map mr=\"edu0_constants\" vaddr=\"0x41000000\" />{map}"
        );
        let start = policy.find("[[client]]\npd = \"edu1_driver\"").unwrap();
        let end = policy[start..].find("# A protection domain that may end").unwrap() + start;
        let first = policy[..start].replacen("devices = [\"edu0\"]", "devices = [\"edu0\", \"edu1\"]", 1);
        let own = first[first.find("[[client]]").unwrap()..].replace("edu0_faults", "edu1_faults");
        let own =
            own.replacen("pd = \"edu0_driver\"", "pd = \"edu1_driver\"\nsuccessor_of = \"edu0_driver\"", 1);
        (system.replacen(map, &maps, 1), format!("{first}{own}{}", &policy[end..]))
    });
    assert_eq!(looks(&drawn.scene, "edu1"), [Look::Device, Look::LaterDevice]);
    assert_eq!(looks(&drawn.scene, "edu0_dma"), [Look::Region, Look::Reference]);
    assert!(!drawn.scene.labels.iter().any(|label| label.text.contains("several clients")));
}

#[test]
fn names_that_are_not_there_are_refused_where_they_stand() {
    let read = |name: &str| fs::read_to_string(xtask::root().join(name)).unwrap();
    let refused = |from: &str, to: &str| {
        let policy = read("policy.toml").replacen(from, to, 1);
        picture(board::DEFAULT, &read("system.xml"), Some(&policy), vec![]).unwrap_err()
    };
    assert!(refused("devices = [\"edu1\"]", "devices = [\"edu9\"]").contains("there is no device 'edu9'"));
    assert!(refused("region = \"edu0_dma\"", "region = \"x\"").contains("no memory region 'x'"));
    assert!(refused("rights = \"rw\"", "rights = \"rx\"").contains("rights 'rx'"));
}

/// Ends of names that break what does not take care of them.
const HOSTILE: [&str; 7] = [
    "",
    "\"<&'>",
    "]]><svg onload='x'>",
    " -- ",
    "日本語のデバイス名前です",
    "_with_a_name_long_enough",
    "</text>",
];

/// A system, its policy, and names of it.
#[derive(Debug, Clone)]
struct Random {
    system: String,
    policy: String,
}

prop_compose! {
    fn random()(
        pds in prop::collection::vec((0..12usize, any::<bool>(), 0..7usize), 2..12),
        channels in prop::collection::vec((0..12usize, 0..12usize, 0..16u8), 0..30),
        regions in 1..8usize,
        devices in prop::collection::vec((0..4usize, 0..12usize, 0..7usize), 0..10),
        grants in prop::collection::vec((0..12usize, 0..8usize, 0..3usize), 0..25),
        units in 1..4usize,
        clients in 0..8usize,
    ) -> Random {
        let name = |pd: usize| format!("pd{pd}{}", HOSTILE[pds[pd].2]);
        let region = |number: usize| format!("region{number}{}", HOSTILE[number % HOSTILE.len()]);
        let quoted = |name: &str| toml::Value::String(name.into()).to_string();
        let mut system = String::from("<system>");
        for number in 0..regions {
            let name = region(number);
            system += &format!("<memory_region name=\"{}\" size=\"0x1000\" />", escape(&*name));
        }
        // A child's parent stands before it.
        let parent = |pd: usize| Some(pds[pd].0).filter(|&of| pds[pd].1 && of < pd);
        fn pd(number: usize, count: usize, parent: &impl Fn(usize) -> Option<usize>, name: &impl Fn(usize) -> String) -> String {
            let id = parent(number).map_or(String::new(), |_| format!(" id=\"{number}\""));
            let of = name(number);
            let mut text = format!("<protection_domain name=\"{}\"{id}><program_image path=\"a.elf\" />", escape(&*of));
            for child in (0..count).filter(|&child| parent(child) == Some(number)) {
                text += &pd(child, count, parent, name);
            }
            text + "</protection_domain>"
        }
        for number in (0..pds.len()).filter(|&number| parent(number).is_none()) {
            system += &pd(number, pds.len(), &parent, &name);
        }
        for (id, (from, to, flags)) in channels.iter().enumerate() {
            let end = |of: usize, pp: bool, notify: bool| {
                let of = name(of % pds.len());
                format!("<end pd=\"{}\" id=\"{id}\" pp=\"{pp}\" notify=\"{notify}\" />", escape(&*of))
            };
            let (from, to) = (from % pds.len(), to % pds.len());
            if from != to {
                let [a, b] = [end(from, flags & 1 != 0, flags & 2 != 0), end(to, flags & 1 == 0 && flags & 4 != 0, flags & 8 != 0)];
                system += &format!("<channel>{a}{b}</channel>");
            }
        }
        let mut policy = format!("server = {}\n", quoted(&name(0)));
        for unit in 0..units {
            let registers = region(unit % regions);
            policy += &format!("[[unit]]\nname = \"unit{unit}\"\nkind = \"x\"\nregisters = {}\n", quoted(&registers));
        }
        for (number, (unit, _, hostile)) in devices.iter().enumerate() {
            let name = format!("device{number}{}\u{0}\u{202e}", HOSTILE[*hostile]);
            policy += &format!("[[device]]\nname = {}\nunit = \"unit{}\"\npci = \"00:0{number}.0\"\n", quoted(&name), unit % units);
        }
        for client in 0..clients.min(pds.len() - 1) {
            let own = devices.iter().enumerate().filter(|(_, (_, owner, _))| *owner == client);
            let own: Vec<_> = own.map(|(number, (_, _, hostile))| quoted(&format!("device{number}{}\u{0}\u{202e}", HOSTILE[*hostile]))).collect();
            let granted = grants.iter().filter(|(of, ..)| *of == client).map(|(_, number, rights)| {
                format!("{{ region = {}, rights = \"{}\" }}", quoted(&region(number % regions)), ["r", "w", "rw"][*rights])
            });
            let granted: Vec<_> = granted.collect();
            policy += &format!("[[client]]\npd = {}\nareas = 1\nframes = 1\ndevices = [{}]\nregions = [{}]\n",
                quoted(&name(client + 1)), own.join(", "), granted.join(", "));
        }
        Random { system: system + "</system>", policy }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn random_systems_are_drawn(random in random()) {
        let drawn = picture(board::DEFAULT, &random.system, Some(&random.policy), vec![]).unwrap();
        assert_readable(&drawn.scene);
        prop_assert_eq!(shown(&drawn.svg()), grants(&random.policy));
        let again = picture(board::DEFAULT, &random.system, Some(&random.policy), vec![]).unwrap();
        prop_assert_eq!(drawn.svg(), again.svg());
    }
}

#[test]
fn as_many_protection_domains_as_there_can_be_each_the_child_of_the_one_before_are_drawn() {
    let name = |pd: usize| format!("a_protection_domain_with_a_name_as_long_as_they_may_be_{pd:02}");
    let mut system = String::from("<system>");
    for pd in 0..MAX_PDS {
        let id = if pd == 0 { "" } else { " id=\"0\"" };
        system += &format!("<protection_domain name=\"{}\"{id}><program_image path=\"a\" />", name(pd));
    }
    system += &"</protection_domain>".repeat(MAX_PDS);
    for (a, b) in (0..MAX_PDS).flat_map(|a| (0..a).map(move |b| (a, b))) {
        // Each id once; a part of them, as the parser looks for each one's place from the file's start.
        let id = (a + b) % MAX_PDS;
        if id <= MAX_ID as usize && (a * b) % 7 == 1 {
            system += &format!(
                "<channel><end pd=\"{}\" id=\"{id}\" pp=\"true\" /><end pd=\"{}\" id=\"{id}\" /></channel>",
                name(a),
                name(b)
            );
        }
    }
    let drawn = picture(board::DEFAULT, &(system + "</system>"), None, vec![]).unwrap();
    assert_readable(&drawn.scene);
}
