export { RfvPlayer } from './index.js';
