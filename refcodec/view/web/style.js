/** The look of `<rfv-player>`. Parts: stage, picture, poster, message, notice, controls, button. */
export const STYLE = `
:host {
  display: block;
  position: relative;
  overflow: hidden;
  min-height: 3rem;
  color-scheme: dark;
  --accent: #7fbdf5;
  font: 14px/1.4 system-ui, sans-serif;
  color: #f2f4f7;
}
:host([hidden]), [hidden] { display: none !important; }
* { box-sizing: border-box; }
#stage, #picture, #poster, #message { position: absolute; inset: 0; width: 100%; height: 100%; }
#picture { cursor: grab; outline-offset: -3px; }
#picture:active { cursor: grabbing; }
:focus-visible { outline: 2px solid var(--accent); }
#poster { object-fit: contain; pointer-events: none; }
#message { display: grid; place-content: center; padding: 1rem; text-align: center; overflow: auto; background: #16181d; }
#message h2 { margin: 0 0 0.4rem; font-size: 1.15rem; font-weight: 600; }
#message p { margin: 0.2rem auto; max-width: 46rem; color: #b6bcc6; overflow-wrap: anywhere; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
#top { position: absolute; inset: 0; pointer-events: none; }
#top ::slotted(*) { pointer-events: auto; }
#hint { position: absolute; top: 45%; left: 0; right: 0; margin: 0 auto; width: fit-content; padding: 0.3rem 0.8rem;
  border-radius: 1rem; background: #000a; pointer-events: none; }
#bottom { position: absolute; left: 0; right: 0; bottom: 0; max-height: 100%; overflow: auto; pointer-events: none; }
#controls, #notice { pointer-events: auto; }
#bottom.resting:not(:focus-within) { opacity: 0; }
#bottom.resting:hover { opacity: 1; }
#controls { padding: 0.1rem 0.6rem 0.35rem; background: #101216d9; }
.row { display: flex; flex-wrap: nowrap; align-items: center; gap: 0.15rem; }
.gap { flex: 1; }
#choices { display: flex; flex-wrap: wrap; gap: 0.3rem 0.9rem; padding: 0.3rem 0.2rem; }
#time { display: block; width: 100%; height: 1.2rem; margin: 0; accent-color: var(--accent); }
#clock { padding: 0 0.4rem; font-variant-numeric: tabular-nums; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
button, select { font: inherit; color: inherit; border-radius: 5px; }
button { display: inline-grid; place-content: center; min-width: 32px; min-height: 32px; padding: 0 4px; border: 0; background: none; }
button:hover, button[aria-expanded="true"] { background: #ffffff2e; }
select { background: #22262d; border: 1px solid #6b7280; padding: 0.15rem 0.3rem; max-width: 11rem; }
#notice { display: flex; align-items: start; gap: 0.5rem; margin: 0.4rem; padding: 0.35rem 0.4rem 0.35rem 0.8rem;
  background: #4a2324; border-radius: 6px; overflow-wrap: anywhere; }
#notice-text { flex: 1; }
@media (pointer: coarse) { button { min-width: 40px; min-height: 40px; } }
`;
