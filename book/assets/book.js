"use strict";
// Draws the diagrams of a page in the colours of the theme, and again when the reader switches between light and dark.
document.addEventListener("DOMContentLoaded", () => {
  const diagrams = [...document.querySelectorAll("pre.mermaid")];
  if (!diagrams.length || typeof mermaid === "undefined") return;
  const sources = diagrams.map((diagram) => diagram.textContent);
  const paint = (paper, ink, quiet, fill, edge, area, rim) => ({
    background: paper, edgeLabelBackground: paper, labelBoxBkgColor: area, noteBkgColor: area, clusterBkg: area, altBackground: area,
    textColor: ink, titleColor: ink, primaryTextColor: ink, secondaryTextColor: ink, tertiaryTextColor: ink, nodeTextColor: ink,
    actorTextColor: ink, signalTextColor: ink, labelTextColor: ink, loopTextColor: ink, noteTextColor: ink, classText: ink,
    lineColor: quiet, defaultLinkColor: quiet, signalColor: quiet, arrowheadColor: quiet,
    mainBkg: fill, primaryColor: fill, secondaryColor: area, tertiaryColor: area, actorBkg: fill, activationBkgColor: area,
    nodeBorder: edge, primaryBorderColor: edge, secondaryBorderColor: rim, tertiaryBorderColor: rim, actorBorder: edge,
    actorLineColor: rim, labelBoxBorderColor: rim, noteBorderColor: rim, clusterBorder: rim, activationBorderColor: rim,
  });
  const colours = {
    light: paint("#fdfcf9", "#23272c", "#575c63", "#e6f0f0", "#0d5c66", "#f4f1ea", "#8f8a7e"),
    dark: paint("#15181b", "#e4e2dc", "#aab0b6", "#1d3438", "#74c7d1", "#1e2226", "#6d747b"),
  };
  const narrow = matchMedia("(max-width: 40rem)");
  let drawing = Promise.resolve();
  const draw = async () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "dark" : "light";
    const fontFamily = getComputedStyle(document.documentElement).getPropertyValue("--book-sans");
    mermaid.initialize({ startOnLoad: false, securityLevel: "strict", theme: "base", fontFamily,
      themeVariables: { darkMode: theme === "dark", fontFamily, fontSize: "15px", ...colours[theme] } });
    // On a phone what flows from left to right flows from top to bottom, or half of it would be out of sight.
    const turned = (source) => narrow.matches ? source.replace(/^(\s*(?:flowchart|graph)) (?:LR|RL)\b/m, "$1 TD") : source;
    diagrams.forEach((diagram, i) => { diagram.removeAttribute("data-processed"); diagram.textContent = turned(sources[i]); });
    await mermaid.run({ nodes: diagrams });
    // On a phone a wide diagram scrolls instead of shrinking until nobody can read it.
    diagrams.map((diagram) => diagram.querySelector("svg")).forEach((svg) => {
      if (!matchMedia("print").matches) svg.style.minWidth = `min(${svg.style.maxWidth || "0px"}, 38rem)`;
    });
  };
  const redraw = () => { drawing = drawing.then(draw); };
  redraw();
  narrow.addEventListener("change", redraw);
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
});
