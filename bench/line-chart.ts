/**
 * A line chart as SVG text: enough for percentiles and for cost over size. Axes are given as ticks;
 * both may be logarithmic.
 */

export interface ChartAxis {
  readonly label: string;
  readonly ticks: readonly number[];
  /** What stands at a tick; default: the number. */
  readonly format?: (tick: number) => string;
  readonly isLogarithmic?: boolean;
}

export interface ChartLine {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Chart {
  readonly title: string;
  readonly x: ChartAxis;
  readonly y: ChartAxis;
  readonly lines: readonly ChartLine[];
}

const WIDTH = 760;
const HEIGHT = 420;
const LEFT = 70;
const RIGHT = 20;
const TOP = 46;
const BOTTOM = 56;
const COLOURS = ['#1f6feb', '#d1242f', '#1a7f37', '#9a6700', '#8250df'];

/** Points outside the ticks are drawn at the edge. */
export function lineChart({ title, x, y, lines }: Chart): string {
  const atX = scale(x, LEFT, WIDTH - RIGHT);
  const atY = scale(y, HEIGHT - BOTTOM, TOP);
  const parts = [
    text(WIDTH / 2, 22, title, 'middle', 15),
    ...x.ticks.flatMap((tick) => [
      rule(atX(tick), TOP, atX(tick), HEIGHT - BOTTOM),
      text(atX(tick), HEIGHT - BOTTOM + 18, label(x, tick), 'middle'),
    ]),
    ...y.ticks.flatMap((tick) => [
      rule(LEFT, atY(tick), WIDTH - RIGHT, atY(tick)),
      text(LEFT - 8, atY(tick) + 4, label(y, tick), 'end'),
    ]),
    text(WIDTH / 2, HEIGHT - 12, x.label, 'middle'),
    `<g transform="rotate(-90 16 ${HEIGHT / 2})">${text(16, HEIGHT / 2, y.label, 'middle')}</g>`,
    ...lines.flatMap(({ name, points }, index) => {
      const colour = COLOURS[index % COLOURS.length] ?? 'black';
      const path = points.map(([px, py]) => `${round(atX(px))},${round(atY(py))}`).join(' ');
      return [
        `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${path}"/>`,
        ...points.map(
          ([px, py]) =>
            `<circle cx="${round(atX(px))}" cy="${round(atY(py))}" r="3" fill="${colour}"/>`,
        ),
        text(LEFT + 12, TOP + 18 + 18 * index, name, 'start', 13, colour),
      ];
    }),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif">
<title>${escaped(title)}</title>
<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>
${parts.join('\n')}
</svg>
`;
}

function scale({ ticks, isLogarithmic = false }: ChartAxis, from: number, to: number) {
  const measure = (value: number) => (isLogarithmic ? Math.log(value) : value);
  const low = measure(Math.min(...ticks));
  const high = measure(Math.max(...ticks));
  return (value: number) => {
    const share = (measure(value) - low) / (high - low || 1);
    return from + Math.min(1, Math.max(0, share)) * (to - from);
  };
}

function label({ format = String }: ChartAxis, tick: number): string {
  return format(tick);
}

function rule(x1: number, y1: number, x2: number, y2: number): string {
  const place = `x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}"`;
  return `<line ${place} stroke="#d0d7de"/>`;
}

function text(
  x: number,
  y: number,
  content: string,
  anchor: 'start' | 'middle' | 'end',
  size = 12,
  colour = '#1f2328',
): string {
  const place = `x="${round(x)}" y="${round(y)}" text-anchor="${anchor}"`;
  return `<text ${place} font-size="${size}" fill="${colour}">${escaped(content)}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
