/** `import 'rfv/player'` makes `<rfv-player>` known. */
import { define } from './index.js';

define();
export { RfvPlayer } from './index.js';
