// Where the parts of the lab stand on their page.

const PARTS = { "lab-fit": fitForm, "lab-explore": lawExplorer, "lab-plan": planner, "lab-touched": touchedExperts };

document.addEventListener("DOMContentLoaded", () => {
  for (const [id, make] of Object.entries(PARTS)) {
    const place = document.getElementById(id);
    if (!place) continue;
    place.replaceChildren();
    place.classList.add("lab");
    make(place);
  }
});
