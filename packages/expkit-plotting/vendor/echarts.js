// The parts of Apache ECharts that a report draws with; `refresh.sh` bundles them.
import * as core from "echarts/core";
import { CustomChart, ParallelChart, ScatterChart } from "echarts/charts";
import { GridComponent, ParallelComponent } from "echarts/components";
import { CanvasRenderer } from "echarts/renderers";

core.use([CustomChart, ParallelChart, ScatterChart, GridComponent, ParallelComponent, CanvasRenderer]);
export * from "echarts/core";
