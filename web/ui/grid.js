/** How large tiles can be and how many a page holds: pure arithmetic, so that it can be tried without a page. */

export const GAP_PX = 8;
/** A browser decodes no more pictures than this at a time. */
export const MOST_TILES = 49;
/** Height of the row with the number of the page. */
export const PAGER_PX = 44;

/** Between these ratios a tile may be cropped without cutting off a face. */
const WIDEST = 16 / 9;
const NARROWEST_IN_LANDSCAPE = 4 / 3;
const NARROWEST_IN_PORTRAIT = 3 / 4;
/** In smaller tiles faces are too small to be of use: there are more pages instead. */
const SMALLEST_TILE = { width: 180, height: 118 };
/** On a phone, which is held closer to the eyes. */
const SMALLEST_TILE_UPRIGHT = { width: 140, height: 128 };
/** On a phone held upright four rows of wide tiles are a ladder; from here on two columns it is. */
const TWO_COLUMNS_FROM = 4;

/** Beside a large picture the others stand at the side of a space wider than this, below it in a narrower one. */
const SIDE_STRIP_RATIO = 1.25;
const SIDE_STRIP = { share: 0.17, least: 150, most: 240 };
const STRIP_TILE_RATIO = 16 / 10;
/** Of a narrow space the large picture takes this, by its height, and no more than this, by its width. */
const LARGE_HEIGHT_SHARE = 0.64;
const LARGE_RATIO = 0.72;
const STRIP_TILE_BELOW = { width: 112, height: 84 };

/** @typedef {{ width: number, height: number }} Size whole pixels */
/** @typedef {{ columns: number, tile: Size }} Grid */

/**
 * Where tiles stand.
 * @typedef {object} Plan
 * @property {Grid} grid of the large tiles where there are any, else of all
 * @property {"side" | "below" | "none"} side where the small ones are
 * @property {Size} large what the large tiles share
 * @property {Size} small a small tile; the size of all tiles where none is large
 * @property {number} columns of small tiles
 * @property {number} perPage small tiles that are shown at a time
 * @property {number} pages
 */

/**
 * The grid with the largest tiles.
 * @param {Size} space
 * @param {number} count
 * @returns {Grid}
 */
export function fitGrid({ width, height }, count) {
  const upright = width < height;
  const narrowest = upright ? NARROWEST_IN_PORTRAIT : NARROWEST_IN_LANDSCAPE;
  const fewest = upright && count >= TWO_COLUMNS_FROM ? 2 : 1;
  /** @type {Grid} */
  let best = { columns: 1, tile: { width: 0, height: 0 } };
  for (let columns = fewest; columns <= Math.max(fewest, count); columns++) {
    const rows = Math.ceil(count / columns);
    const cell = { width: (width - GAP_PX * (columns - 1)) / columns, height: (height - GAP_PX * (rows - 1)) / rows };
    const tile = fitTile(cell, narrowest, WIDEST);
    if (tile.width * tile.height > best.tile.width * best.tile.height) best = { columns, tile };
  }
  return best;
}

/**
 * The largest rectangle within a cell whose ratio lies between two.
 * @param {Size} cell
 * @param {number} narrowest
 * @param {number} widest
 * @returns {Size}
 */
export function fitTile(cell, narrowest, widest) {
  const width = Math.max(0, Math.min(cell.width, cell.height * widest));
  const height = Math.max(0, Math.min(cell.height, width / narrowest));
  return { width: Math.floor(width), height: Math.floor(height) };
}

/**
 * @param {Size} space
 * @returns {number} how many tiles fit without being too small, at least one
 */
export function tilesThatFit(space) {
  const least = space.width < space.height ? SMALLEST_TILE_UPRIGHT : SMALLEST_TILE;
  for (let count = MOST_TILES; count > 1; count--) {
    const { tile } = fitGrid(space, count);
    if (tile.width >= least.width && tile.height >= least.height) return count;
  }
  return 1;
}

/**
 * All tiles of a size, on as many pages as it takes.
 * @param {Size} space
 * @param {number} count
 * @returns {Plan}
 */
export function planGrid(space, count) {
  const fit = tilesThatFit(space);
  const paged = count > fit;
  const left = paged ? { width: space.width, height: space.height - PAGER_PX } : space;
  const perPage = paged ? tilesThatFit(left) : Math.max(1, count);
  // A last page that is not full has tiles of the same size: nothing grows and shrinks on the way through.
  const grid = fitGrid(left, perPage);
  return {
    grid,
    side: "none",
    large: left,
    small: grid.tile,
    columns: grid.columns,
    perPage,
    pages: Math.max(1, Math.ceil(count / perPage)),
  };
}

/**
 * Some tiles large, the others small beside or below them.
 * @param {Size} space
 * @param {number} large how many are large
 * @param {number} small
 * @returns {Plan}
 */
export function planFocus(space, large, small) {
  if (small === 0) {
    const grid = fitLarge(space, large);
    return { grid, side: "none", large: space, small: grid.tile, columns: 1, perPage: 1, pages: 1 };
  }
  const side = space.width / space.height > SIDE_STRIP_RATIO ? "side" : "below";
  const strip = side === "side" ? sideStrip(space) : stripBelow(space, small);
  const most = MOST_TILES - large;
  const paged = small > Math.min(most, strip.fits(0));
  const perPage = Math.max(1, Math.min(most, paged ? strip.fits(PAGER_PX) : small));
  return {
    grid: fitLarge(strip.large, large),
    side,
    large: strip.large,
    small: strip.tile,
    columns: strip.columns,
    perPage,
    pages: Math.ceil(small / perPage),
  };
}

/**
 * @param {Size} space
 * @param {number} count
 * @returns {Grid} one tile takes it all
 */
const fitLarge = (space, count) => (count === 1 ? { columns: 1, tile: space } : fitGrid(space, count));

/** @param {Size} space */
function sideStrip({ width, height }) {
  const { share, least, most } = SIDE_STRIP;
  const strip = Math.round(Math.min(most, Math.max(least, width * share)));
  const tile = { width: strip, height: Math.round(strip / STRIP_TILE_RATIO) };
  return {
    tile,
    columns: 1,
    large: { width: width - strip - GAP_PX, height },
    /** @param {number} pager its height */
    fits: (pager) => rows(height - pager, tile.height),
  };
}

/**
 * @param {Size} space
 * @param {number} count of small tiles
 */
function stripBelow({ width, height }, count) {
  const large = { width, height: Math.floor(Math.min(height * LARGE_HEIGHT_SHARE, width * LARGE_RATIO)) };
  const left = { width, height: height - large.height - GAP_PX };
  const columns = rows(width, STRIP_TILE_BELOW.width);
  const tile = { width: Math.floor((width - GAP_PX * (columns - 1)) / columns), height: 0 };
  tile.height = Math.max(STRIP_TILE_BELOW.height, Math.round(tile.width / STRIP_TILE_RATIO));
  /** @param {number} pager */
  const fits = (pager) => columns * rows(left.height - pager, tile.height);
  // A few have more room each, but no more than is small beside the large one.
  const most = { width: Math.floor((width - GAP_PX) / 2), height: Math.floor(large.height / 2) };
  const few = fitGrid(left, count);
  const grown = { width: Math.min(few.tile.width, most.width), height: Math.min(few.tile.height, most.height) };
  return count <= fits(0) && grown.width * grown.height > tile.width * tile.height
    ? { tile: grown, columns: few.columns, large, fits }
    : { tile, columns, large, fits };
}

/**
 * @param {number} space
 * @param {number} size
 * @returns {number} how many of that size fit, at least one
 */
const rows = (space, size) => Math.max(1, Math.floor((space + GAP_PX) / (size + GAP_PX)));
