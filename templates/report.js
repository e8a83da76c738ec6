"use strict";
const choice = document.getElementById("choice");
if (choice) {
  const show = () => {
    for (const chart of document.querySelectorAll("[data-chart]")) {
      chart.hidden = chart.dataset.chart !== choice.value;
    }
  };
  choice.parentElement.hidden = false;
  choice.addEventListener("change", show);
  show();
}
