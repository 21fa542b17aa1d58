/** The representations of a field, as far as a viewer needs to know them (specification, 8.1 to 8.9). */
import { Representation, Role } from './syntax.generated.js';

const three = (entry) => [0, 1, 2].map(entry);
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const equal = (a, b) => a.every((n, i) => n === b[i]);

/**
 * Of each `representation`:
 *
 * - grids: the tensor list up to the networks: role, how many (count, or least to count of them), and the axes along
 *   which the k-th has one sample: 'none', its 'own' or the 'others',
 * - inputs(channels, header): number of inputs of the networks, null for grids that do not go together; channels: lists
 *   by role,
 * - product: roles of a coefficient grid and of the basis grids that it is multiplied by, the networks' inputs,
 * - features: or lists of grids [role, index]: the products of each list, side by side,
 * - position: or the encoded position,
 * - density: lists of grids, whose products' channels sum to the density's input; without, that is output 0 of the
 *   fusion network.
 */
export const FIELDS = {
  [Representation.DIF]: {
    grids: [
      { role: Role.DIF_COEFFICIENT, count: 1, single: 'none' },
      { role: Role.DIF_BASIS, count: 64, least: 1, single: 'none' },
    ],
    inputs(channels, header) {
      const [inputs] = channels[Role.DIF_COEFFICIENT];
      return sum(channels[Role.DIF_BASIS]) === inputs && header.tensors[0].mapping === 1 ? inputs : null;
    },
    product: { coefficient: Role.DIF_COEFFICIENT, basis: Role.DIF_BASIS },
  },
  [Representation.VM]: {
    grids: [
      { role: Role.DENSITY_PLANE, count: 3, single: 'own' },
      { role: Role.DENSITY_LINE, count: 3, single: 'others' },
      { role: Role.FEATURE_PLANE, count: 3, single: 'own' },
      { role: Role.FEATURE_LINE, count: 3, single: 'others' },
    ],
    inputs(channels) {
      const fits =
        equal(channels[Role.DENSITY_PLANE], channels[Role.DENSITY_LINE]) &&
        equal(channels[Role.FEATURE_PLANE], channels[Role.FEATURE_LINE]);
      return fits ? sum(channels[Role.FEATURE_PLANE]) : null;
    },
    features: three((k) => [
      [Role.FEATURE_PLANE, k],
      [Role.FEATURE_LINE, k],
    ]),
    density: three((k) => [
      [Role.DENSITY_PLANE, k],
      [Role.DENSITY_LINE, k],
    ]),
  },
  [Representation.TRIPLANE]: {
    grids: [
      { role: Role.DENSITY_GRID, count: 1, single: 'none' },
      { role: Role.FEATURE_PLANE, count: 3, single: 'own' },
    ],
    inputs: (channels) => (channels[Role.DENSITY_GRID][0] === 1 ? sum(channels[Role.FEATURE_PLANE]) : null),
    features: three((k) => [[Role.FEATURE_PLANE, k]]),
    density: [[[Role.DENSITY_GRID, 0]]],
  },
  [Representation.GRID]: {
    grids: [
      { role: Role.DENSITY_GRID, count: 1, single: 'none' },
      { role: Role.FEATURE_GRID, count: 1, single: 'none' },
    ],
    inputs: (channels) => (channels[Role.DENSITY_GRID][0] === 1 ? channels[Role.FEATURE_GRID][0] : null),
    features: [[[Role.FEATURE_GRID, 0]]],
    density: [[[Role.DENSITY_GRID, 0]]],
  },
  [Representation.MLP]: {
    grids: [],
    inputs: (_, header) => 3 + 6 * header.positionFrequencies,
    position: true,
  },
};
