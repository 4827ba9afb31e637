/** How large tiles can be: pure arithmetic, so that it can be tried without a page. */

/** Between these ratios a tile may be cropped without cutting off a face. */
const WIDEST = 16 / 9;
const NARROWEST_IN_LANDSCAPE = 4 / 3;
const NARROWEST_IN_PORTRAIT = 3 / 4;
/** Below this width a face is too small: the grid scrolls instead. */
const SMALLEST_TILE_PX = 132;
/** On a phone held upright four rows of wide tiles are a ladder; from here on two columns it is. */
const TWO_COLUMNS_FROM = 4;

/**
 * @typedef {object} Grid
 * @property {number} columns
 * @property {number} width of a tile, whole pixels
 * @property {number} height of a tile
 * @property {boolean} scrolls it does not fit
 */

/**
 * The grid with the largest tiles.
 * @param {{ width: number, height: number, count: number, gap: number }} space
 * @returns {Grid}
 */
export function fitGrid({ width, height, count, gap }) {
  const upright = width < height;
  const narrowest = upright ? NARROWEST_IN_PORTRAIT : NARROWEST_IN_LANDSCAPE;
  const fewest = upright && count >= TWO_COLUMNS_FROM ? 2 : 1;
  /** @type {Grid} */
  let best = { columns: 1, width: 0, height: 0, scrolls: false };
  for (let columns = fewest; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const cell = { width: (width - gap * (columns - 1)) / columns, height: (height - gap * (rows - 1)) / rows };
    const tile = fitTile(cell, narrowest, WIDEST);
    if (tile.width * tile.height > best.width * best.height) best = { columns, ...tile, scrolls: false };
  }
  return best.width >= SMALLEST_TILE_PX || count <= 1 ? best : scrollingGrid(width, gap, narrowest);
}

/**
 * The largest rectangle within a cell whose ratio lies between two.
 * @param {{ width: number, height: number }} cell
 * @param {number} narrowest
 * @param {number} widest
 */
export function fitTile(cell, narrowest, widest) {
  const width = Math.max(0, Math.min(cell.width, cell.height * widest));
  const height = Math.max(0, Math.min(cell.height, width / narrowest));
  return { width: Math.floor(width), height: Math.floor(height) };
}

/**
 * @param {number} width
 * @param {number} gap
 * @param {number} narrowest
 * @returns {Grid}
 */
function scrollingGrid(width, gap, narrowest) {
  const columns = Math.max(2, Math.floor((width + gap) / (SMALLEST_TILE_PX + gap)));
  const tile = Math.floor((width - gap * (columns - 1)) / columns);
  return { columns, width: tile, height: Math.floor(tile / Math.max(1, narrowest)), scrolls: true };
}
