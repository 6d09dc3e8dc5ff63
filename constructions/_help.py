"""What `radial --help` and its commands print below their options."""

__all__ = [
    "BUILD",
    "CERTIFY",
    "COMPILE",
    "COMPRESS",
    "EVALUATE",
    "EXPORT",
    "GALLERY",
    "MAIN",
    "RATES",
    "RENDER",
    "REPRODUCE",
]

_TARGET = """\
TARGET is a name from `radial gallery`, a formula after expr: in x1, x2, ... (or x, y, z), or a data file:
  .npy           gridded values, one axis a coordinate
  .npz           `values` with optional `lower` and `upper` (a grid), or `points` and `values` (samples)
  .csv           with a header x1,...,xn,value (or x,y,z and y1,...,ym): scattered samples, one a row;
                 without a header: a matrix of values on the grid x1 = 0, 1, ... (rows), x2 = 0, 1, ... (columns)
  .png, .jpg...  grey levels in [0, 1], x to the right, y up"""
_DOMAIN = """\
SPEC is box:LO,HI (the same in every coordinate), box:LO,HI;LO,HI;... , ball:RADIUS (about the origin),
ball:RADIUS;C1,...,Cn or space (all of R^n, for targets that approach an affine map at infinity). A formula does so by
--affine and --tail, themselves formulas, the tail one in r: |formula - affine| <= tail wherever |x| >= r."""

MAIN = """\
A radial network alternates affine maps with activations that rescale a vector by a function of its length. `build`
takes a function and a tolerance eps, covers the domain with cells on which the function changes little, and writes one
layer that captures each cell: no training. `evaluate` looks for the largest error and finds a lower bound of it;
`certify` proves an upper bound from the weights alone. `render` shows the network at work, `export` takes it elsewhere.
Start with the first three examples, in this order; `radial COMMAND --help` explains each command with more.

examples:
  radial gallery
  radial build gaussian --eps 0.1
  radial build franke --eps 0.2 --out franke.safetensors --plot franke.png
  radial evaluate franke.safetensors --samples 100000
  radial certify franke.safetensors
  radial compress trained.safetensors --out small.safetensors
  radial export franke.safetensors --out franke.onnx
  radial rates franke --eps 0.2,0.1,0.05 --plot rates.png
  radial render franke.safetensors --out franke.html
  radial reproduce 1

Exit status: 0 success, 1 the error exceeds eps (certify: or is not proved to stay within it), 2 wrong input or
refused, 130 interrupted.
"""
COMPILE = """\
Inner loops are compiled when they are first used, and kept: beside the package, or where that cannot be written in the
user's cache directory, or in the folder that NUMBA_CACHE_DIR names. This command uses all once that Step-ReLU networks
up to width 6 need: before a class, or while the image of a container is built. It takes half a minute, and a few
seconds where nothing is left to compile.

--json prints seconds (of each job) and compiled (how many functions were).

examples:
  radial compile
  radial compile --quiet
"""
GALLERY = """\
The spread of the values is taken on the domain: the diagonal of their bounding box, measured on a grid.

examples:
  radial gallery
  radial gallery --json
  radial gallery --plot sheet.png
"""
BUILD = f"""\
{_TARGET}
{_DOMAIN}

--json prints target, formula ("" for others), eps, domain, domain_spec (as --domain takes it), builder, theorem,
reason, lipschitz, lipschitz_source, cover, cells, hidden_layers, parameters, depth_bound (hidden layers that any
Step-ReLU network needs, null: unknown), lower, upper (null: not certified), claim, obstacle (why upper is null),
rests_on, argmax, samples, seconds (of building), measuring_seconds, files and hidden_widths (runs [first, layers, step]
of equal widths, step 0, or growing, step 1).

Without --eps, --max-layers N paints the data with N ellipsoids, one on top of the other, each where the squared error
falls most; --json then prints rms, nodes, rms_curve and largest_curve (errors at the nodes after 0, 1, ..., N).

examples:
  radial build gaussian --eps 0.1
  radial build franke --eps 0.05 --cover greedy
  radial build peaks --eps 0.02 --cover greedy --max-seconds 20
  radial build picture.png --max-layers 500 --plot painted.png
  radial build gaussian --dim 3 --eps 0.2 --domain ball:2 --builder constant_width --json
  radial build 'expr:sin(x1) * cos(x2)' --eps 0.3 --domain 'box:-3,3;0,1' --lipschitz 1.5
  radial build 'expr:x/2 + exp(-x^2)' --affine x/2 --tail 'exp(-r^2)' --eps 0.1
  radial build heights.csv --eps 0.05 --out heights.safetensors --plot heights.pdf
  radial build franke --builder radial_basis --layers 200 --activation radial_swish

greedy searches for minutes where eps is small. Once --max-seconds are over, or after Ctrl-C, it fills up with small
cells; the result meets eps all the same, and `cover` tells how many cells of each kind there are.

radial_basis has no cells: weights by least squares, for activations with h(r)/r -> 1 (shifted_relu, radial_softplus,
radial_swish). It takes --layers, or --eps and grows up to --max-layers; --cover, --values, --no-proof are not for it.
"""
EVALUATE = f"""\
FILE was written by `radial build --out` or approx.storage.save.
{_TARGET}
{_DOMAIN}
Without --domain the error is looked for where the network was built, else on the target's own compact domain.

--json prints file, target, eps (of the build, or null), domain, hidden_layers, parameters, lower, upper
(null: not certified), claim, argmax, samples, measuring_seconds, files and hidden_widths (runs, as of build).

examples:
  radial evaluate franke.safetensors
  radial evaluate gaussian.safetensors gaussian --domain space --samples 1000000 --json
"""
CERTIFY = f"""\
FILE was written by `radial build --out` or approx.storage.save.
{_TARGET}
{_DOMAIN}
The pieces of a Step-ReLU network are recovered from the stored weights and compared with the target by interval
arithmetic; networks with other activations are bounded by Taylor models on boxes and, in up to three dimensions, up to
infinity, if they have exactly the target's slope there. The result is a proof for the file, whatever built it, and says
what it rests on. Without --domain it is about the domain that the network was built for, else about the target's own
compact domain.

--json prints file, target, eps (given, or of the build, or null), domain, hidden_layers, parameters, lower, upper
(null: nothing was proved), claim, rests_on, proved (upper <= eps, null without eps), argmax, recheck (with --recheck),
seconds and hidden_widths (runs, as of build).

examples:
  radial certify franke.safetensors
  radial certify franke.safetensors franke --tol 1e-5 --recheck --out proved.safetensors
  radial certify gaussian.safetensors gaussian --domain space --tol 1e-4 --json
"""
COMPRESS = """\
FILE holds any radial network, written by approx.storage.save or `radial build --out`. The smaller network has the same
activations, depth, input and output.
  --method qr        each hidden width at most one more than the width before it, the same function
  --method rank      the smallest widths a change of basis allows, the same function
  --method diagonal  those widths, with every second matrix between hidden layers diagonal
With --tol some of the function is given up: |F(x) - F_small(x)| <= TOL for all |x| <= R is proved, or the command
refuses. Step-ReLU and other activations that jump allow only the lossless forms.

--json prints file, method, tol, bound (null: lossless up to rounding), radius, deviation (the largest difference found
at the samples), scale, samples, parameters_before, parameters, files, hidden_widths_before and
hidden_widths (runs, as of build).

examples:
  radial compress trained.safetensors --out small.safetensors
  radial compress trained.safetensors --out small.safetensors --tol 1e-3 --radius 5 --plot small.png
  radial compress franke.safetensors --out franke-small.safetensors --method rank --json
"""
EXPORT = """\
FILE was written by `radial build --out` or approx.storage.save. Who gets the result needs neither this package nor it:
  .onnx  standard operators, any batch size: onnxruntime.InferenceSession(file).run(None, {"x": points})
  .py    one Python file that needs numpy alone: import it and call network(points)
  .npz   the arrays, and how they fit together; approx.export says what they mean
  .pt    TorchScript: torch.jit.load(file)(points)
  .pt2   a torch.export program: torch.export.load(file).module()(points)
The file is run at sample points, half of them 1e-9 either side of cell boundaries, and compared with the network.

Exit status: 1 if they disagree at a point that is not within rounding of a boundary.

--json prints file, files, bytes, compared (points; 0 if the package to run it is missing, and then reason),
largest_difference, tolerance, other_side (points within rounding of a boundary that fell on its other side) and wrong.

examples:
  radial export franke.safetensors --out franke.onnx
  radial export franke.safetensors --out franke.py
"""
RENDER = f"""\
--out page.html writes one page that needs no network access and nothing installed: open it in a browser. The network is
evaluated there, from its weights; a slider paints one cell after another, and pointing at the picture tells target,
network, error and the layer that painted it. In more than two dimensions it shows the plane of the first two.
--out growing.gif writes an animation of the cells being painted; --animate does so as .html. Both need Step-ReLU.

{_TARGET}
{_DOMAIN}

--json prints target, eps (or null), hidden_layers, files and bytes.

examples:
  radial render peaks --out peaks.html
  radial render franke.safetensors --out franke.html
  radial render net.safetensors 'expr:sin(x) * y' --out net.html
  radial render gaussian --dim 1 --eps 0.05 --out growing.gif
"""
REPRODUCE = """\
1    compression changes nothing but rounding
2    projected gradient descent is gradient descent of the compressed network; two minutes or so
3    time and epochs to reach a loss, compressed and full; a minute or two
4    which image is this a noisy copy of? Step-ReLU against ReLU; needs scikit-learn, or --mnist
all  one after the other, five minutes or so

Every table has the paper's mean +- standard deviation beside the one measured here. FOLDER holds
train-images-idx3-ubyte and train-labels-idx1-ubyte, as they are or compressed (.gz).

--json prints experiments (number, title, source, settings, seeds, rows, commentary, seconds and interrupted of each)
and files; a row has quantity, paper_mean and paper_std (or null), mean, std and values, one per seed.
An interrupt keeps the trials that are done.

examples:
  radial reproduce 1
  radial reproduce 4 --noise 0.5 1 2 --trials 5 --plot recovery.png
  radial reproduce all --csv trials.csv --json
"""
RATES = f"""\
{_TARGET}
{_DOMAIN}
Every cover strategy and builder builds a network for every tolerance. The table has layers, the order observed from
row to row (layers ~ eps^-order), that of the theory, the layers that any Step-ReLU network needs, parameters, bounds
of the error and seconds; below it stand fitted orders with their standard errors. A refused build has a row that says
why.
  --baselines radial,relu   trained networks, grid: a constant per cell of a grid, rbf: scipy's RBFInterpolator; each
                            with at most the parameters of the smallest network built for that tolerance, on the
                            target's compact domain. Their error is the largest at samples
  --cache FILE              a sweep that Ctrl-C interrupted (status 130) goes on where it was; without, the table of the
                            finished points is shown all the same. Use a new file when the package changes

--json prints rows (target, dim_in, builder, cover, eps, hidden_layers, parameters, lower, upper, claim, depth_bound,
theory, seconds, baseline and note of each), orders, interrupted and files.

examples:
  radial rates franke --eps 0.4,0.2,0.1 --covers uniform,adaptive
  radial rates gaussian --dim 3 --eps 0.4,0.2 --builders constant_width,widening --csv rates.csv --jobs 2
  radial rates franke --eps 0.4,0.2 --baselines all --cache franke.jsonl --plot franke.png
"""
