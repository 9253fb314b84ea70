"""A page by ear: the names of its controls, its announcements, and what axe-core finds wrong."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

AXE = Path(__file__).parent.parent.parent / "scripts" / "page" / "node_modules" / "axe-core" / "axe.min.js"
#: The roles of controls; each control must have a name.
CONTROLS = {
    "button",
    "checkbox",
    "ColorWell",
    "combobox",
    "Date",
    "dialog",
    "disclosureTriangle",
    "DisclosureTriangle",
    "image",
    "link",
    "listbox",
    "progressbar",
    "progressIndicator",
    "radio",
    "region",
    "searchbox",
    "slider",
    "spinbutton",
    "switch",
    "tab",
    "textbox",
    "ToggleButton",
    "toggleButton",
}
#: JavaScript that notes what live regions say, as a screen reader that reads what is added to them.
LISTEN = """
window.announced = [];
const live = "[role=status], [role=alert], [aria-live]";
const isHeard = (element) => element && !element.closest("[aria-hidden=true], [hidden]");
new MutationObserver((changes) => {
  for (const { type, target, addedNodes } of changes) {
    const nodes = type === "childList" ? [...addedNodes] : [target];
    for (const node of nodes) {
      const element = node instanceof Element ? node : node.parentElement;
      // A region that comes with its text is none that was listened to.
      const region = node instanceof Element ? node.parentElement?.closest(live) : element?.closest(live);
      const text = node.textContent?.trim();
      if (text && region && isHeard(element)) window.announced.push(text);
    }
  }
}).observe(document, { subtree: true, childList: true, characterData: true });
"""


def violations(page: Page) -> list[str]:
    """Return what axe-core finds wrong: its rule, where, and why."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{rule['id']}: {' '.join(map(str, node['target']))}: {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def controls(page: Page) -> list[tuple[str, str]]:
    """Return role and name of every control in the page's accessibility tree."""
    session = page.context.new_cdp_session(page)
    nodes: list[dict[str, Any]] = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    return [
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in CONTROLS
    ]
