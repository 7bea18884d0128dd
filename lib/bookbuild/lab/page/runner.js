// The worker that fits: it is made of the engine's own text, so that it works where a page was opened from a file.

const WORK = `
const engine = moelawsEngine();
let told = 0;
onmessage = ({ data }) => {
  const report = (stage, done, total) => {
    if (Date.now() - told < 80) return;
    told = Date.now();
    postMessage({ stage, done, total });
  };
  try {
    postMessage({ answer: engine[data.ask](data.job, report) });
  } catch (error) {
    postMessage({ error: error instanceof engine.LabError ? error.message
      : "This cannot be fitted: " + error.message + " (an error of the page; please report it)." });
  }
};`;

let made = null;

function engine() {
  made = made || window.moelawsEngine();
  return made;
}

// Ask the engine in a worker: {promise, cancel}.
function ask(what, job, onProgress) {
  const text = `${window.moelawsEngine.toString()}\n${WORK}`;
  const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const worker = new Worker(address);
  const stop = () => {
    worker.terminate();
    URL.revokeObjectURL(address);
  };
  let cancelled = () => {};
  const promise = new Promise((resolve, reject) => {
    cancelled = () => reject(new (engine().LabError)("Stopped; nothing was fitted."));
    worker.onmessage = ({ data }) => {
      if (data.stage) {
        if (onProgress) onProgress(data);
        return;
      }
      stop();
      if (data.error) reject(new (engine().LabError)(data.error));
      else resolve(data.answer);
    };
    worker.onerror = (event) => {
      stop();
      reject(new Error(event.message || "the worker did not start"));
    };
    worker.postMessage({ ask: what, job });
  });
  return { promise, cancel: () => { stop(); cancelled(); } };
}
